// z = x·Wᵀ over packed weights, in our own SIMD kernels: for any number of rows, without allocation
// and without setup. Each value is one chain of FP32 fused multiply-adds over the inputs in
// ascending order, whatever rows and columns it is computed with: equal rows give equal bits.
//
// The processor's instruction set is found at run time. Threads: a pure function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cpu/panels.h"

namespace mlpserve::cpu {

struct ProductTile {
  const float* x = nullptr;  // [rows, inputs], rounded to the compute type
  int64_t x_stride = 0;      // floats from row to row
  // [rows, columns of the panel]. Whole vectors are written, so that up to kPanelColumns - 1 floats
  // behind a row's last column change.
  float* z = nullptr;
  int64_t z_stride = 0;  // a multiple of 16
  int64_t rows = 0;
  int64_t panel = 0;
  // Whether weights are fetched into the L2 cache a little ahead of their use. The processor's own
  // prefetching is too late for few rows, and stops at every page.
  bool fetches_ahead = false;
  std::span<const std::byte> upcoming;  // the panel that is probably next; its start is fetched too
};

// Computes with the instruction set that `weights` were packed for.
void Product(const Panels& weights, const ProductTile& tile);

// Columns that the instruction set in use multiplies at a time: a divisor of kPanelColumns.
int64_t StripColumns();

}  // namespace mlpserve::cpu
