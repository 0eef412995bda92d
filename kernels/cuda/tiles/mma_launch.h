// The choices of the ffma, mma and mma_rows main loops as data, and the launch that fits them: what
// their sources compute at compile time, for the host. No CUDA in here.
#pragma once

#include <cstdint>
#include <string>

namespace mlpserve::cuda {

// Sizes are in elements; m counts rows of y, n columns, k depth.

// ffma.cuh: products in FP32, sm_80 and up.
struct FfmaTile {
  int tile_m = 64;
  int tile_n = 128;
  int tile_k = 16;    // of one pipeline stage
  int threads_m = 8;  // threads along tile_m
  int threads_n = 16;
  int threads_k = 1;  // threads that share an output
  int stages = 2;
  int ctas_per_sm = 3;  // promised to the compiler: bounds the registers per thread
};

// mma.cuh: mma.sync, sm_80 and up.
struct MmaTile {
  int tile_m = 128;
  int tile_n = 128;
  int tile_k = 32;  // of one pipeline stage
  int warps_m = 2;
  int warps_n = 4;
  int stages = 3;
  int ctas_per_sm = 1;
};

// mma_rows.cuh: mma.sync for few rows of x, which are the narrow operand.
struct MmaRowsTile {
  int tile_n = 64;  // rows of w: 16 for each warp along n
  int tile_m = 16;  // rows of x: a multiple of 8
  int tile_k = 64;  // of one pipeline stage
  int warps_n = 4;
  int stages = 4;
  int ctas_per_sm = 2;
};

// The definitions of struct Config that a main loop reads besides kIn and kOut.
std::string Constants(const FfmaTile& tile);
std::string Constants(const MmaTile& tile);
std::string Constants(const MmaRowsTile& tile);

// "64x128x16.t8x16x1.s2.b3": m, n, k, threads, stages, CTAs of an SM; "128x128x32.w2x4.s3.b2": m,
// n, k, warps, stages, CTAs; "64x16x64.w4.s4.b2": n, m, k, warps, stages, CTAs.
std::string Name(const FfmaTile& tile);
std::string Name(const MmaTile& tile);
std::string Name(const MmaRowsTile& tile);

// CTAs [grid_x, grid_y], grid_y = split_k.
struct MmaLaunch {
  int64_t grid_x = 0;  // tiles of y
  int grid_y = 1;
  int threads = 0;
  int shared_bytes = 0;        // dynamic
  int64_t partials_bytes = 0;  // GemmArgs::partials; none without a split
  int64_t arrivals = 0;        // GemmArgs::arrivals, in counters; zero them once
};

// Bytes of shared memory that these kernels declare themselves, beside the dynamic ones: room for
// one flag, as far as the dynamic part's alignment spreads it.
inline constexpr int kStaticSharedBytes = 128;

// `element_bytes` of x and w.
MmaLaunch Launch(const FfmaTile& tile, int element_bytes, int64_t m, int64_t n, int split_k);
MmaLaunch Launch(const MmaTile& tile, int element_bytes, int64_t m, int64_t n, int split_k);
MmaLaunch Launch(const MmaRowsTile& tile, int element_bytes, int64_t m, int64_t n, int split_k);

}  // namespace mlpserve::cuda
