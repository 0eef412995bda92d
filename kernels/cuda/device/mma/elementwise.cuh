// y = epilogue(x), value by value: what is left to do where no product precedes it. Changes formats
// and strides (an identity epilogue), normalises by batch statistics, finishes a library's product.
// Of GemmArgs: x [m, n], y [m, n], block_input, their strides, m, n and the epilogue.
// Grid: [ceil(n / 256), any]; 256 threads; no dynamic shared memory.
//
// Config: kIn (of block_input), kOut (of y), kX (of x).
#pragma once

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/mma/tile_output.cuh"

namespace mlpserve::cuda {

using X = Stored<Config::kX>;

constexpr int kRunsAcross = 32;
constexpr int kRowsAtOnce = 8;

extern "C" __global__ void __launch_bounds__(kRunsAcross* kRowsAtOnce)
    mlpserve_elementwise(const __grid_constant__ GemmArgs args) {
  const int column = (blockIdx.x * kRunsAcross + threadIdx.x % kRunsAcross) * kRun;
  if (column >= args.n) return;
  const RunColumns columns = LoadColumns(args.epilogue, column);
  const bool whole = column + kRun <= args.n && RunsAreAligned<X>(args.x, args.x_stride);
  for (int row = blockIdx.y * kRowsAtOnce + threadIdx.x / kRunsAcross; row < args.m;
       row += gridDim.y * kRowsAtOnce) {
    float z[kRun];
    LoadRun(static_cast<const X*>(args.x) + row * args.x_stride + column, whole, args.n - column,
            z);
    FinishRun(args, row, column, columns, z);
  }
}

}  // namespace mlpserve::cuda
