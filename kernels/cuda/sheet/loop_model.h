// How fast one SM of an RTX 4090 goes round a kernel's loop over k, from its instructions: warps
// are issued cycle by cycle as the compiler's stall counts and scoreboards allow, to pipes with the
// published rates. Not modelled: bank conflicts other than those said, instruction caches, power,
// and a memory that is slower than L2.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/sheet/sass.h"

namespace mlpserve::cuda {

// Of one SM, in cycles and bytes. Luo et al.: "Benchmarking and Dissecting the Nvidia Hopper GPU
// Architecture via Microbenchmarking", 2024 (arXiv 2402.13499), which measured an RTX 4090.
struct SmRates {
  int product_cycles = 32;              // of an HMMA on its quarter: 165.2 TFLOP/s at 2520 MHz
  int integer_cycles = 2;               // of a warp on 16 lanes: CUDA Programming Guide, 8.9
  double shared_bytes_per_clock = 128;  // the same guide: 32 banks of 4 bytes
  double l2_bytes_per_clock = 13.34;    // Luo et al.: 1708 bytes a clock over 128 SMs
  int product_latency = 33;             // Luo et al.: m16n8k16, FP32 sums
  int shared_latency = 30;              // Luo et al.
  int l2_latency = 273;                 // Luo et al.
  int memory_latency = 541;             // Luo et al.
  int barrier_latency = 20;             // an estimate: not published
};

struct LoopSpeed {
  double cycles = 0;        // of a pass, of all the warps of an SM
  double tensor_share = 0;  // of these, how long a product is being computed
  double issue_share = 0;   // the same of issue slots,
  double shared_share = 0;  // of shared memory,
  double l2_share = 0;      // and of what L2 gives
  double l2_bytes_per_clock = 0;

  // The busiest of these four, or "latency" where none is busy nine tenths of the time.
  std::string limit() const;
};

struct LoopWarps {
  int ctas = 1;  // on the SM at once
  int warps_per_cta = 8;
  double conflicts = 1;     // times that an access to shared memory takes, on the mean
  double lines_a_load = 4;  // lines of L1 that a load from beyond the SM (LDG) touches
};

// `loop` as CountMainLoop leaves it. All zero where there is nothing to run, or a warp would wait
// for ever.
LoopSpeed SpeedOf(const std::vector<Instruction>& loop, const LoopWarps& warps,
                  const SmRates& rates = {});

struct TileEnds {
  int passes = 1;            // of the loop
  int instructions = 0;      // of a warp, outside the loop
  double written_bytes = 0;  // by a CTA
};

// The share of the tensor pipe over whole tiles: the first copies come from memory, nothing hides
// what is issued and written outside the loop.
double TensorShareOfTiles(const LoopSpeed& speed, const LoopWarps& warps, const TileEnds& ends,
                          const SmRates& rates = {});

}  // namespace mlpserve::cuda
