// What a launch of the ffma, mma and mma_rows main loops needs, as their sources compute it at
// compile time. No CUDA in here.
#pragma once

#include <cstdint>

#include "kernels/cuda/config.h"

namespace mlpserve::cuda {

// Blocks [grid_x, grid_y], grid_y = split_k.
struct MmaLaunch {
  int64_t grid_x = 0;  // tiles of y
  int grid_y = 1;
  int threads = 0;
  int shared_bytes = 0;        // dynamic
  int64_t partials_bytes = 0;  // GemmArgs::partials; none without a split
  int64_t arrivals = 0;        // GemmArgs::arrivals, in counters; zero them once
};

// Bytes of shared memory that these kernels declare themselves, beside the dynamic ones: room for
// one flag, as far as the dynamic part's alignment spreads it; ffma.cuh also declares its tiles.
inline constexpr int kStaticSharedBytes = 128;
int FfmaSharedBytes(const FfmaTile& tile);

// `element_bytes` of x and w.
MmaLaunch Launch(const FfmaTile& tile, int element_bytes, int64_t m, int64_t n, int split_k);
MmaLaunch Launch(const MmaTile& tile, int element_bytes, int64_t m, int64_t n, int split_k);
MmaLaunch Launch(const MmaRowsTile& tile, int element_bytes, int64_t m, int64_t n, int split_k);

}  // namespace mlpserve::cuda
