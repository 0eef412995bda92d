// x·wᵀ and |x|·|w|ᵀ in float64, for the oracle: plain, not fast. Every product of two operands is
// exact in float64.
// Grid: [ceil(n / 64), ceil(m / 64)]; 256 threads, each with 4 x 4 results 16 apart.
//
// Config: kIn, the format of x and w. kTf32 rounds them as TF32 kernels do, kFp32 takes them as
// they are. Comes behind ptx/primitives.cuh, or behind what stands in for it on the host.
#pragma once

#include "kernels/cuda/device/bench/float64_args.cuh"

namespace mlpserve::cuda {

using In = Stored<Config::kIn>;

constexpr int kAcross = 16;
constexpr int kEach = kFloat64Tile / kAcross;
static_assert(kAcross * kAcross == kFloat64Threads, "a thread for every 4 x 4 results");

__device__ __forceinline__ double OperandAt(const void* row, int64_t k) {
  if (Config::kIn == Type::kTf32) {
    return FloatFromBits(RoundToTf32(static_cast<const uint32_t*>(row)[k]));
  }
  return ToFloat(static_cast<const In*>(row)[k]);
}

// Rows beyond the last stand for the last: their results are dropped.
__device__ __forceinline__ const void* RowAt(const void* matrix, int64_t stride, int64_t row,
                                             int64_t rows) {
  return static_cast<const In*>(matrix) + (row < rows ? row : rows - 1) * stride;
}

extern "C" __global__ void __launch_bounds__(kFloat64Threads)
    mlpserve_float64_product(const __grid_constant__ Float64Args args) {
  const int64_t row = static_cast<int64_t>(blockIdx.y) * kFloat64Tile + threadIdx.x / kAcross;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kFloat64Tile + threadIdx.x % kAcross;
  const void* x[kEach];
  const void* w[kEach];
  for (int i = 0; i < kEach; ++i) {
    x[i] = RowAt(args.x, args.x_stride, row + i * kAcross, args.m);
    w[i] = RowAt(args.w, args.w_stride, column + i * kAcross, args.n);
  }
  double sums[kEach][kEach] = {};
  double magnitudes[kEach][kEach] = {};
  for (int64_t k = 0; k < args.k; ++k) {
    double a[kEach];
    double b[kEach];
    for (int i = 0; i < kEach; ++i) {
      a[i] = OperandAt(x[i], k);
      b[i] = OperandAt(w[i], k);
    }
    for (int i = 0; i < kEach; ++i) {
      for (int j = 0; j < kEach; ++j) {
        const double term = a[i] * b[j];
        sums[i][j] += term;
        magnitudes[i][j] += term < 0 ? -term : term;
      }
    }
  }
  for (int i = 0; i < kEach; ++i) {
    for (int j = 0; j < kEach; ++j) {
      const int64_t m = row + i * kAcross;
      const int64_t n = column + j * kAcross;
      if (m >= args.m || n >= args.n) continue;
      args.sums[m * args.n + n] = sums[i][j];
      args.magnitudes[m * args.n + n] = magnitudes[i][j];
    }
  }
}

}  // namespace mlpserve::cuda
