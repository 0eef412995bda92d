// Rows of FP32 as kernels read them that make FP32 products of TF32 ones (tf32_terms.cuh), made on
// the host. Apart from whatever includes the CUDA runtime, whose macros those of the host stand
// for.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlpserve::cuda {

// [hi | lo], each `half_columns` wide with zeros after the row, and what its sums have to be
// multiplied by: 1 unless the row is scaled.
std::vector<float> SplitRow(std::span<const float> row, int64_t half_columns, bool scales);

}  // namespace mlpserve::cuda
