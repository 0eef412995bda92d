// What a batch norm's kernels need beside GemmArgs. Read by the kernels and filled by the host.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

struct StatisticsArgs {
  double eps = 0;
  // Vectors of n, or null and a number for all columns.
  const float* weight_column = nullptr;
  const float* bias_column = nullptr;
  float weight = 1;
  float bias = 0;
  // wgmma_batch_norm.cuh alone: the vectors of the epilogue before the norm, as the other's lie.
  const float* before = nullptr;
  // column_statistics.cuh alone: [ceil(m / 256), n, 2] mean and squares, and its results, [n] each.
  double* parts = nullptr;
  float* shift0 = nullptr;
  float* scale = nullptr;
  float* shift1 = nullptr;
};

}  // namespace mlpserve::cuda
