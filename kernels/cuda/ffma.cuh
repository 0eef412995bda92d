// y = epilogue(x·wᵀ) with FP32 products and sums, on any architecture: strict FP32 where there are
// no three-term TF32 products. Any m, n and k; rows at multiples of 16 bytes as everywhere, though
// this kernel needs no alignment.
// Grid: [tiles of y, split_k]; kThreadsM·kThreadsN threads; no dynamic shared memory.
//
// Config: kTileM, kTileN, kTileK, kThreadsM, kThreadsN, kBlocksPerSm.
#pragma once

#include "kernels/cuda/split_k.cuh"
#include "kernels/cuda/tile_output.cuh"

namespace mlpserve::cuda {

constexpr int kThreads = Config::kThreadsM * Config::kThreadsN;
constexpr int kRows = Config::kTileM / Config::kThreadsM;  // of y, per thread

static_assert(Config::kIn == Type::kFp32, "this kernel multiplies FP32 values only");
static_assert(Config::kTileM % Config::kThreadsM == 0, "threads share the rows evenly");
static_assert(Config::kTileN == Config::kThreadsN * kRun, "a thread has one run of columns");

// [k][row], so that neighbouring threads read neighbouring values; a row more than needed spreads
// the writes over the banks.
struct SharedTiles {
  float x[Config::kTileK][Config::kTileM + 1];
  float w[Config::kTileK][Config::kTileN + 4];
};

template <int kTileRows, int kPitch>
__device__ __forceinline__ void LoadTile(float (&to)[Config::kTileK][kPitch], const float* from,
                                         int64_t stride, int rows, int depth) {
  for (int i = threadIdx.x; i < kTileRows * Config::kTileK; i += kThreads) {
    const int row = i / Config::kTileK;
    const int k = i % Config::kTileK;
    to[k][row] = row < rows && k < depth ? from[row * stride + k] : 0.0f;
  }
}

__device__ __forceinline__ void MultiplyTile(const SharedTiles& tiles, float (&sums)[kRows][kRun]) {
  const int row = threadIdx.x / Config::kThreadsN * kRows;
  const int column = threadIdx.x % Config::kThreadsN * kRun;
#pragma unroll
  for (int k = 0; k < Config::kTileK; ++k) {
    float x[kRows];
    float w[kRun];
#pragma unroll
    for (int i = 0; i < kRows; ++i) x[i] = tiles.x[k][row + i];
#pragma unroll
    for (int j = 0; j < kRun; ++j) w[j] = tiles.w[k][column + j];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kRun; ++j) sums[i][j] = fmaf(x[i], w[j], sums[i][j]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, Config::kBlocksPerSm)
    mlpserve_gemm(const __grid_constant__ GemmArgs args) {
  __shared__ SharedTiles tiles;
  const TileWork work = FindWork<Config::kTileM, Config::kTileN, Config::kTileK>(args);
  const float* x = static_cast<const float*>(args.x) + work.row * args.x_stride;
  const float* w = static_cast<const float*>(args.w) + work.column * args.w_stride;
  float sums[kRows][kRun] = {};
  for (int k = work.k_begin; k < work.k_end; k += Config::kTileK) {
    LoadTile<Config::kTileM>(tiles.x, x + k, args.x_stride, args.m - work.row, work.k_end - k);
    LoadTile<Config::kTileN>(tiles.w, w + k, args.w_stride, args.n - work.column, work.k_end - k);
    __syncthreads();
    MultiplyTile(tiles, sums);
    __syncthreads();
  }
  if (!SumSplits<kThreads>(args, work.tile, reinterpret_cast<float(&)[kRows * kRun]>(sums))) return;
  const int row = work.row + threadIdx.x / Config::kThreadsN * kRows;
  const int column = work.column + threadIdx.x % Config::kThreadsN * kRun;
  if (column >= args.n) return;
  const RunColumns columns = LoadColumns(args.epilogue, column);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (row + i < args.m) FinishRun(args, row + i, column, columns, sums[i]);
  }
}

}  // namespace mlpserve::cuda
