// How long a wgmma kernel takes, from counts: what its multiprocessors multiply, what is delivered
// into them, what L2 and memory give, and how its CTAs begin and end. The rates are fitted to
// recorded runs by tiles/fit, which also prints how far the estimates are off.
#pragma once

#include <cstdint>

#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/device_limits.h"

namespace mlpserve::cuda {

struct GemmShape {
  int64_t m = 1, n = 1, k = 1;  // y [m, n] = x [m, k] · wᵀ, each at least 1
};

// Of an H200. A step is 128 bytes of k for a CTA; times are in microseconds.
struct WgmmaRates {
  double product = 1.0;    // of 128 x 256 products in a step
  double delivery = 1.0;   // of 256 rows in a step into one multiprocessor
  double l2 = 1.0;         // of a megabyte out of L2, by all
  double memory = 1.0;     // of a megabyte out of memory, by all
  double in_flight = 1.0;  // megabytes that keep memory busy
  double start = 1.0;      // of a kernel of wgmma_tiles.cuh, beyond one for few rows
  double end = 1.0;        // of a tile of wgmma_tiles.cuh
  double end_area = 1.0;   // and for 128 x 256 of its results
  double end_rows = 1.0;   // the same of wgmma_rows.cuh
  double end_rows_area = 1.0;
  double exchange = 1.0;       // where CTAs share a sum
  double exchange_area = 1.0;  // and for 128 x 128 of its results
  double hidden = 1.0;         // share of a tile's end that a ping-pong kernel does not hide
  double together = 1.0;       // exponent: how little products, L2 and memory hinder one another
};

// What was fitted to kernels/results/h200-tiles-2026-12-01.txt.
WgmmaRates H200Rates();

// Microseconds of a launch after another of its kind. `tile`: WgmmaConfig or WgmmaRowsConfig;
// `element_bytes` of x and w. For ranking; a batch norm in the kernel is not counted.
double EstimateWgmma(const GemmShape& shape, const Tile& tile, int element_bytes,
                     const DeviceLimits& limits, const WgmmaRates& rates);

}  // namespace mlpserve::cuda
