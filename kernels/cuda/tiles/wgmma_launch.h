// The choices of the sm_90a main loops as data, and the launch that fits them: what their
// sources compute at compile time, for the host. No CUDA in here.
#pragma once

#include <cstdint>
#include <string>

namespace mlpserve::cuda {

// wgmma_tiles.cuh. A cooperative kernel divides tile_m among its warpgroups.
struct WgmmaConfig {
  int tile_m = 128;       // 64, 128 or 192 for each warpgroup that shares it
  int tile_n = 256;       // a multiple of 16 up to 256
  int consumers = 2;      // warpgroups that multiply: 1 to 3
  int stages = 4;         // of the ring
  int cluster_m = 2;      // CTAs of a cluster along m, which share w
  int cluster_n = 1;      // and along n, which share x
  int ping_pong = 0;      // 1: a tile for each warpgroup
  int group_m = 8;        // rows of cluster tiles that are taken together; 0: all
  int store_buffers = 1;  // 1 or 2 for each warpgroup
  int terms = 1;          // 3: FP32 out of TF32 (tf32_terms.cuh)
  int store_by_tma = 1;   // 0 where y or its stride is not a multiple of 16 bytes
  // 1: a batch norm with the batch's statistics in the kernel (wgmma_batch_norm.cuh), after an
  // epilogue of so many column vectors.
  int normalises = 0;
  int before_columns = 0;
};

// wgmma_rows.cuh.
struct WgmmaRowsConfig {
  int tile_rows = 64;       // of w: 64 for each consumer warpgroup
  int batch = 16;           // 8 or a multiple of 16 up to 256
  int stages = 5;           // of the ring
  int slabs_per_stage = 4;  // of 128 bytes of k
  int prefetch_stages = 0;  // brought to L2 while the kernel before this one ends
  int share = 1;            // CTAs that multicast x to one another
  int split_k = 1;          // CTAs that share a sum
  int terms = 1;            // 3: FP32 out of TF32 (tf32_terms.cuh)
};

// Rows of FP32 as [hi | lo] (tf32_terms.cuh), in floats: of one half, and from row to row. Rows of
// x have their factor behind.
constexpr int64_t HalfColumns(int64_t k) { return (k + 31) / 32 * 32; }
constexpr int64_t SplitStrideOfX(int64_t k) { return 2 * HalfColumns(k) + 32; }
constexpr int64_t SplitStrideOfW(int64_t k) { return 2 * HalfColumns(k); }

// Of one kernel: bytes of an element of x and w, of y, and Epilogue::kColumns.
struct KernelTypes {
  int in_bytes = 2;
  int out_bytes = 2;
  int columns = 0;
};

// A launch. Every tensor map is of boxes of 128 bytes of a row, with 128-byte swizzle.
struct WgmmaLaunch {
  int grid_x = 0, grid_y = 1;
  int threads = 0;
  int shared_bytes = 0;
  int cluster = 1;
  int x_box_rows = 0, w_box_rows = 0;
  int y_box_rows = 64;  // used by wgmma_tiles.cuh alone
  // What a kernel that normalises needs of GemmArgs::partials, and its counters.
  int64_t partials_bytes = 0, arrivals = 0;
};

// The definitions of struct Config that the main loop reads besides kIn and kOut.
std::string Constants(const WgmmaConfig& config);
std::string Constants(const WgmmaRowsConfig& config);

// "128x256.s4.c2x1", with ".w3" for three consumers, ".pp" for ping-pong; "r64x16.s5x4", with ".x4"
// for share, ".k2" for split.
std::string Name(const WgmmaConfig& config);
std::string Name(const WgmmaRowsConfig& config);

// `clusters` is how many clusters of this kernel the device holds at a time. A kernel that
// normalises needs them for all rows of a tile's columns at once: a grid of 0 says that m is too
// large.
WgmmaLaunch Launch(const WgmmaConfig& config, const KernelTypes& types, int m, int n, int clusters);
WgmmaLaunch Launch(const WgmmaRowsConfig& config, const KernelTypes& types, int m, int n);

}  // namespace mlpserve::cuda
