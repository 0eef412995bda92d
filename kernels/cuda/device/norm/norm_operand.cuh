// A batch norm's weight or bias: one number for each column, or one for all (StatisticsArgs).
#pragma once

namespace mlpserve::cuda {

__device__ __forceinline__ float OperandAt(const float* column, float value, int i) {
  return column == nullptr ? value : column[i];
}

}  // namespace mlpserve::cuda
