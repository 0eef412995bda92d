// The parameters of float64_product.cuh, for the kernel and for the host.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

struct Float64Args {
  const void* x = nullptr;       // [m, k]
  const void* w = nullptr;       // [n, k]
  double* sums = nullptr;        // [m, n]
  double* magnitudes = nullptr;  // [m, n]
  int64_t x_stride = 0;          // elements from row to row
  int64_t w_stride = 0;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
};

inline constexpr int kFloat64Threads = 256;
inline constexpr int kFloat64Tile = 64;  // a CTA computes [64, 64] of the result

}  // namespace mlpserve::cuda
