// y = epilogue(x·wᵀ) with mma.sync, for sm_80 and up (the main loop of the RTX 4090): any m, n and
// k at least 1, rows of x and w at multiples of 16 bytes (GemmArgs).
// Grid: [tiles of y, split_k]; kThreads threads; kSharedBytes of dynamic shared memory.
//
// Config: kTileM, kTileN, kTileK (of one stage), kWarpsM, kWarpsN, kStages, kCtasPerSm.
#pragma once

#include "kernels/cuda/device/mma/mma_pipeline.cuh"
#include "kernels/cuda/device/mma/split_k.cuh"
#include "kernels/cuda/device/mma/tile_output.cuh"

namespace mlpserve::cuda {

using Pipeline =
    MmaPipeline<Config::kIn, Config::kTileM, Config::kTileN, Config::kTileK, Config::kWarpsM,
                Config::kWarpsN, Config::kStages, Config::kCtasPerSm, ColumnOrder::kRuns>;

// The epilogue of a warp's products. Four neighbouring products hold runs of eight columns.
__device__ __forceinline__ void FinishTile(
    const GemmArgs& args, const TileWork& work,
    const float (&sums)[Pipeline::kProductsA][Pipeline::kProductsB][4]) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int row = work.row + warp / Config::kWarpsN * (Pipeline::kProductsA * 16) + lane / 4;
  const int column =
      work.column + warp % Config::kWarpsN * (Pipeline::kProductsB * 8) + lane % 4 * 8;
#pragma unroll
  for (int j = 0; j < Pipeline::kProductsB; j += 4) {
    if (column + j * 8 >= args.n) break;
    const RunColumns columns = LoadColumns(args.epilogue, column + j * 8);
#pragma unroll
    for (int i = 0; i < Pipeline::kProductsA * 2; ++i) {
      float z[kRun];
#pragma unroll
      for (int v = 0; v < kRun; ++v) z[v] = sums[i / 2][j + v / 2][i % 2 * 2 + v % 2];
      if (row + i * 8 < args.m) FinishRun(args, row + i * 8, column + j * 8, columns, z);
    }
  }
}

extern "C" __global__ void __launch_bounds__(Pipeline::kThreads, Config::kCtasPerSm)
    mlpserve_gemm(const __grid_constant__ GemmArgs args) {
  extern __shared__ __align__(128) unsigned char shared[];
  const TileWork work = FindWork<Config::kTileM, Config::kTileN, Config::kTileK>(args);
  float sums[Pipeline::kProductsA][Pipeline::kProductsB][4] = {};
  Pipeline pipeline(shared, Pipeline::Operand::From(args.x, args.x_stride, work.row, args.m),
                    Pipeline::Operand::From(args.w, args.w_stride, work.column, args.n),
                    work.k_begin, work.k_end);
  pipeline.Run(sums);
  constexpr int kValues = Pipeline::kProductsA * Pipeline::kProductsB * 4;
  if (SumSplits<Pipeline::kThreads>(args, work.tile, reinterpret_cast<float(&)[kValues]>(sums))) {
    FinishTile(args, work, sums);
  }
}

}  // namespace mlpserve::cuda
