// Which tile and which part of k a CTA computes, and the sum over the CTAs that share a tile.
// The grid is [tiles of y, split_k].
#pragma once

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/ptx/checks.cuh"
#include "kernels/cuda/device/ptx/global_memory.cuh"

namespace mlpserve::cuda {

struct TileWork {
  int tile;  // index of the tile's counter and of its place in GemmArgs::partials
  int row;   // first row and column of y
  int column;
  int k_begin;  // this CTA's part of k, in elements; a multiple of the stage's depth
  int k_end;
};

// Tiles run down groups of kGroup rows of tiles before they move on to the next column, so that
// the CTAs in flight at a time share rows of w and of x in L2.
template <int kTileM, int kTileN, int kTileK>
__device__ __forceinline__ TileWork FindWork(const GemmArgs& args) {
  constexpr int kGroup = 8;
  const int tiles_m = (args.m + kTileM - 1) / kTileM;
  const int tiles_n = (args.n + kTileN - 1) / kTileN;
  const int tile = blockIdx.x;
  const int group = tile / (kGroup * tiles_n);
  const int in_group = tile - group * kGroup * tiles_n;
  const int rows = min(tiles_m - group * kGroup, kGroup);
  const int k_tiles = (args.k + kTileK - 1) / kTileK;
  const int share = (k_tiles + args.split_k - 1) / args.split_k * kTileK;
  const int k_begin = min(static_cast<int>(blockIdx.y) * share, args.k);
  return {.tile = tile,
          .row = (group * kGroup + in_group % rows) * kTileM,
          .column = in_group / rows * kTileN,
          .k_begin = k_begin,
          .k_end = min(k_begin + share, args.k)};
}

// Adds up the sums of the CTAs that share a tile. True in the one CTA that holds the result,
// which must finish the tile; that is the one that comes last, but the order of the additions is
// that of k, so the result has the same bits every time.
// The place in `partials` of a value is its thread's own: [split, tile, value / 4, thread, 4].
template <int kThreads, int kValues>
__device__ __forceinline__ bool SumSplits(const GemmArgs& args, int tile,
                                          float (&values)[kValues]) {
  static_assert(kValues % 4 == 0, "partial sums travel in 16 bytes");
  if (args.split_k == 1) return true;
  const auto place = [&](int split) {
    const int64_t slot = static_cast<int64_t>(split) * gridDim.x + tile;
    return args.partials + slot * (kThreads * kValues) + threadIdx.x * 4;
  };
  float* own = place(blockIdx.y);
#pragma unroll
  for (int v = 0; v < kValues; v += 4) {
    StoreFourToL2(own + v * kThreads, {values[v], values[v + 1], values[v + 2], values[v + 3]});
    // Sums start from zero below.
    values[v] = values[v + 1] = values[v + 2] = values[v + 3] = 0.0f;
  }
  __threadfence();
  __shared__ int is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    const uint32_t before = atomicAdd(args.arrivals + tile, 1u);
    Require(before < static_cast<uint32_t>(args.split_k));  // somebody left the counter as it was
    is_last = before == static_cast<uint32_t>(args.split_k - 1);
    if (is_last) args.arrivals[tile] = 0;  // for the next launch
  }
  __syncthreads();
  if (!is_last) return false;
  __threadfence();
  for (int split = 0; split < args.split_k; ++split) {
    const float* part = place(split);
#pragma unroll
    for (int v = 0; v < kValues; v += 4) {
      const float4 four = LoadFourFromL2(part + v * kThreads);
      values[v] += four.x;
      values[v + 1] += four.y;
      values[v + 2] += four.z;
      values[v + 3] += four.w;
    }
  }
  return true;
}

}  // namespace mlpserve::cuda
