// Where a k of the product lies in x and in w. With Config::kTerms = 1, at that column. With 3,
// FP32 products are made of TF32 ones: each row of x and w holds its values rounded to TF32 and
// then what rounding left (of which TF32 keeps all but about 2^-22 of the value), [hi | lo], each
// half HalfColumns(k) wide with zeros after k. The product runs over lo·hi, hi·lo and hi·hi, the
// smallest first; lo·lo is below FP32's own rounding.
#pragma once

#include "kernels/cuda/gemm_args.cuh"

namespace mlpserve::cuda {

static_assert(Config::kTerms == 1 || (Config::kTerms == 3 && Config::kIn == Type::kTf32),
              "FP32 is three products of TF32");

// Columns of the hi half: whole 128 bytes.
__device__ __forceinline__ int HalfColumns(int k) { return (k + 31) / 32 * 32; }

// Columns over which the product runs.
__device__ __forceinline__ int ProductColumns(const GemmArgs& args) {
  return Config::kTerms == 1 ? args.k : Config::kTerms * HalfColumns(args.k);
}

// Beyond the product both lie beyond the tensors, where copies fill with zeros.
__device__ __forceinline__ int ColumnOfX(const GemmArgs& args, int k) {
  if constexpr (Config::kTerms == 1) return k;
  const int half = HalfColumns(args.k);
  return k < half ? k + half : k < 2 * half ? k - half : k < 3 * half ? k - 2 * half : 2 * half;
}

__device__ __forceinline__ int ColumnOfW(const GemmArgs& args, int k) {
  if constexpr (Config::kTerms == 1) return k;
  const int half = HalfColumns(args.k);
  return k < 2 * half ? k : k < 3 * half ? k - 2 * half : 2 * half;
}

}  // namespace mlpserve::cuda
