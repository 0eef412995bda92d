#include "tests/kernels/cuda/engine/gpu_halves.h"

#include <algorithm>

#include "tests/kernels/cuda/device/host_primitives.h"
// After what it is built on.
#include "kernels/cuda/device/tf32/tf32_halves.cuh"

namespace mlpserve::cuda {

std::vector<float> SplitRow(std::span<const float> row, int64_t half_columns, bool scales) {
  uint32_t largest = 0;
  for (const float v : row) largest = std::max(largest, MagnitudeBits(v));
  const int exponent = scales ? ScaleExponent(largest) : 0;
  std::vector<float> split(static_cast<size_t>(2 * half_columns + 1));
  for (size_t i = 0; i < row.size(); ++i) {
    const Halves halves = SplitToTf32(row[i], PowerOfTwo(exponent));
    split[i] = halves.hi;
    split[static_cast<size_t>(half_columns) + i] = halves.lo;
  }
  split.back() = PowerOfTwo(-exponent);
  return split;
}

}  // namespace mlpserve::cuda
