// y = epilogue(x·wᵀ) for many rows on sm_90a (wgmma_cta.cuh).
#pragma once

#include "kernels/cuda/device/wgmma/wgmma_cta.cuh"

namespace mlpserve::cuda {

extern "C" __global__ void __launch_bounds__(kThreads, 1) __cluster_dims__(kClusterCtas, 1, 1)
    mlpserve_gemm(const __grid_constant__ GemmArgs args, const __grid_constant__ TensorMap x_map,
                  const __grid_constant__ TensorMap w_map,
                  const __grid_constant__ TensorMap y_map) {
  RunCta(args, x_map, w_map, y_map, Straight{});
}

}  // namespace mlpserve::cuda
