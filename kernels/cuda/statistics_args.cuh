// The parameters of column_statistics.cuh's kernels. Read by the kernels and filled by the host.
#pragma once

#include "kernels/cuda/device_prelude.cuh"

namespace mlpserve::cuda {

constexpr int kStatisticsRows = 256;       // of a block
constexpr int kStatisticsThreadRows = 32;  // of a thread

struct StatisticsArgs {
  const float* z = nullptr;  // [m, n]
  int64_t z_stride = 0;
  int32_t m = 0;
  int32_t n = 0;
  double* parts = nullptr;  // [ceil(m / kStatisticsRows), n, 2]: mean, squares
  double eps = 0;
  // Of the batch norm: vectors of n, or null and a number for all columns.
  const float* weight_column = nullptr;
  const float* bias_column = nullptr;
  float weight = 1;
  float bias = 0;
  float* shift0 = nullptr;  // [n] each
  float* scale = nullptr;
  float* shift1 = nullptr;
};

}  // namespace mlpserve::cuda
