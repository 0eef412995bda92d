// y = epilogue(x·wᵀ) with mma.sync for few rows of x: w is the operand of 16 rows, x the one of 8,
// so that 8 rows of x waste nothing. What bounds it is reading w: many stages in flight, and
// split-k where n alone does not fill the device.
// Grid: [tiles of y, split_k]; kThreads threads; dynamic shared memory as SharedBytes in
// mma_launch.h. Alignment as mma.cuh.
//
// Config: kTileN (of w), kTileM (of x), kTileK (of one stage), kWarpsN, kStages, kCtasPerSm.
#pragma once

#include "kernels/cuda/device/mma/mma_pipeline.cuh"
#include "kernels/cuda/device/mma/split_k.cuh"
#include "kernels/cuda/device/mma/tile_output.cuh"

namespace mlpserve::cuda {

using Pipeline =
    MmaPipeline<Config::kIn, Config::kTileN, Config::kTileM, Config::kTileK, Config::kWarpsN, 1,
                Config::kStages, Config::kCtasPerSm, ColumnOrder::kPlain>;

// Sums pass through shared memory to come out in runs of a row of y. Rows are 4 floats longer than
// the tile, so that the eight lanes that write neighbouring rows of x use different banks.
constexpr int kSumStride = Config::kTileN + 4;

__device__ __forceinline__ void TransposeSums(
    float* shared, const float (&sums)[Pipeline::kProductsA][Pipeline::kProductsB][4]) {
  const int lane = threadIdx.x % 32;
  const int column = threadIdx.x / 32 * (Pipeline::kProductsA * 16) + lane / 4;
#pragma unroll
  for (int i = 0; i < Pipeline::kProductsA; ++i) {
#pragma unroll
    for (int j = 0; j < Pipeline::kProductsB; ++j) {
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        const int row = j * 8 + lane % 4 * 2 + v % 2;
        shared[row * kSumStride + column + i * 16 + v / 2 * 8] = sums[i][j][v];
      }
    }
  }
}

// Each thread finishes one run of columns in every kRowsPerPass-th row.
__device__ __forceinline__ void FinishTile(const GemmArgs& args, const TileWork& work,
                                           const float* shared) {
  constexpr int kRuns = Config::kTileN / kRun;
  constexpr int kRowsPerPass = Pipeline::kThreads / kRuns;
  static_assert(Pipeline::kThreads % kRuns == 0, "threads share a row's runs evenly");
  const int run = threadIdx.x % kRuns * kRun;
  const int column = work.column + run;
  if (column >= args.n) return;
  const RunColumns columns = LoadColumns(args.epilogue, column);
  const int rows = min(Config::kTileM, args.m - work.row);
  for (int row = threadIdx.x / kRuns; row < rows; row += kRowsPerPass) {
    float z[kRun];
#pragma unroll
    for (int v = 0; v < kRun; ++v) z[v] = shared[row * kSumStride + run + v];
    FinishRun(args, work.row + row, column, columns, z);
  }
}

extern "C" __global__ void __launch_bounds__(Pipeline::kThreads, Config::kCtasPerSm)
    mlpserve_gemm(const __grid_constant__ GemmArgs args) {
  extern __shared__ __align__(128) unsigned char shared[];
  const TileWork work = FindWork<Config::kTileM, Config::kTileN, Config::kTileK>(args);
  float sums[Pipeline::kProductsA][Pipeline::kProductsB][4] = {};
  Pipeline pipeline(shared, Pipeline::Operand::From(args.w, args.w_stride, work.column, args.n),
                    Pipeline::Operand::From(args.x, args.x_stride, work.row, args.m), work.k_begin,
                    work.k_end);
  pipeline.Run(sums);
  constexpr int kValues = Pipeline::kProductsA * Pipeline::kProductsB * 4;
  if (!SumSplits<Pipeline::kThreads>(args, work.tile, reinterpret_cast<float(&)[kValues]>(sums))) {
    return;
  }
  float* finished = reinterpret_cast<float*>(shared);
  TransposeSums(finished, sums);
  __syncthreads();
  FinishTile(args, work, finished);
}

}  // namespace mlpserve::cuda
