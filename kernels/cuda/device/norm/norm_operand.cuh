// A batch norm's weight and bias, each one number for every column or one for all, and what it
// becomes with the statistics of a column.
#pragma once

#include "kernels/cuda/device/norm/statistics_args.cuh"

namespace mlpserve::cuda {

// (z - mean) / deviation * weight + bias as (z + before) * scale + after. The mean has two floats:
// `before` is the upper one, the lower one is in `after`.
struct NormColumn {
  float before, scale, after;
};

__device__ __forceinline__ float OperandAt(const float* column, float value, int i) {
  return column == nullptr ? value : column[i];
}

// `deviation` is sqrt(variance + eps), in float or double.
template <typename Real>
__device__ __forceinline__ NormColumn NormOf(const StatisticsArgs& statistics, int column,
                                             float upper, float lower, Real deviation) {
  const float weight = OperandAt(statistics.weight_column, statistics.weight, column);
  const float scale = static_cast<float>(weight / deviation);
  const float bias = OperandAt(statistics.bias_column, statistics.bias, column);
  return {-upper, scale, fmaf(-lower, scale, bias)};
}

// Of a mean in double.
__device__ __forceinline__ NormColumn NormOf(const StatisticsArgs& statistics, int column,
                                             double mean, double variance) {
  const float upper = static_cast<float>(mean);
  return NormOf(statistics, column, upper, static_cast<float>(mean - upper),
                sqrt(variance + statistics.eps));
}

}  // namespace mlpserve::cuda
