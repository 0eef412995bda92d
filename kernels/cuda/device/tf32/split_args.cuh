// What tf32_split.cuh is told. Read by the kernel and filled by the host.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

// Strides are in elements from one row to the next. Rows of `to` start at multiples of 16 bytes.
struct SplitArgs {
  const float* from = nullptr;  // [rows, columns], a CTA of the grid for each row
  float* to = nullptr;  // [rows], each [hi | lo], and the row's factor behind if it is scaled
  int64_t from_stride = 0;
  int64_t to_stride = 0;
  int32_t columns = 0;
  int32_t half_columns = 0;  // of hi and of lo: `columns` rounded up to whole 128 bytes
  int32_t scales = 0;        // 1: rows are scaled (tf32_halves.cuh); 0: all by one, no factor
};

}  // namespace mlpserve::cuda
