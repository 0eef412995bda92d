// The block's input, which the epilogue of a layer may add.
#pragma once

#include "kernels/cuda/device/gemm_args.cuh"

namespace mlpserve::cuda {

// Its value at (row, column) of y; 0 outside y, and where SomeEpilogue uses none. (tile_output.cuh
// loads eight neighbours at a time.)
template <typename SomeEpilogue>
__device__ __forceinline__ float BlockInput(const GemmArgs& args, int row, int column) {
  using In = Stored<Config::kIn>;
  if (!SomeEpilogue::kUsesInput || row >= args.m || column >= args.n) return 0;
  return ToFloat(static_cast<const In*>(args.block_input)[row * args.block_input_stride + column]);
}

}  // namespace mlpserve::cuda
