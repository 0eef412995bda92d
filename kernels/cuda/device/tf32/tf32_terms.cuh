// Where a k of the product lies in x and in w. With Config::kTerms = 1, at that column. With 3,
// FP32 products are made of TF32 ones: each row of x and w holds its values rounded to TF32 and
// then what rounding left (of which TF32 keeps all but about 2^-23 of the value), [hi | lo], each
// half HalfColumns(k) wide with zeros after k. Behind the halves of a row of x, which is scaled,
// stands what its sums have to be multiplied by (tf32_halves.cuh).
// For every 128 bytes of k the product runs over lo·hi, hi·lo and hi·hi, the smallest first, while
// what two of them read is still in L2. lo·lo is left out: it is at most 2^-22 of its product, and
// of either sign.
#pragma once

#include "kernels/cuda/device/gemm_args.cuh"

namespace mlpserve::cuda {

static_assert(Config::kTerms == 1 || (Config::kTerms == 3 && Config::kIn == Type::kTf32),
              "FP32 is three products of TF32");

constexpr int kTermColumns = 32;  // 128 bytes

// Columns of the hi half.
__device__ __forceinline__ int HalfColumns(int k) {
  return (k + kTermColumns - 1) / kTermColumns * kTermColumns;
}

// Columns over which the product runs.
__device__ __forceinline__ int ProductColumns(const GemmArgs& args) {
  return Config::kTerms == 1 ? args.k : Config::kTerms * HalfColumns(args.k);
}

// `k` is a multiple of kTermColumns. Beyond the product both lie beyond the tensors, where copies
// fill with zeros.
__device__ __forceinline__ int TermColumn(const GemmArgs& args, int k, int term_of_lo) {
  const int half = HalfColumns(args.k);
  const int tile = k / kTermColumns;
  const int column = tile / Config::kTerms * kTermColumns;
  if (column >= half) return 2 * half;
  return tile % Config::kTerms == term_of_lo ? half + column : column;
}

__device__ __forceinline__ int ColumnOfX(const GemmArgs& args, int k) {
  return Config::kTerms == 1 ? k : TermColumn(args, k, 0);
}

__device__ __forceinline__ int ColumnOfW(const GemmArgs& args, int k) {
  return Config::kTerms == 1 ? k : TermColumn(args, k, 1);
}

// What the sums of a row of x have to be multiplied by.
__device__ __forceinline__ float RowFactor(const GemmArgs& args, int row) {
  if constexpr (Config::kTerms == 1) return 1.0f;
  const int last = row < args.m ? row : args.m - 1;
  return LoadFromL2(static_cast<const float*>(args.x) + last * args.x_stride +
                    2 * HalfColumns(args.k));
}

}  // namespace mlpserve::cuda
