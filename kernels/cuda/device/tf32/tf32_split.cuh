// Splits rows of FP32 into the halves that three products of TF32 are made of (tf32_terms.cuh):
// [hi | lo], each half_columns wide with zeros after the last column. Behind a scaled row comes
// what its sums have to be multiplied by.
// Grid: [rows]; 256 threads; no dynamic shared memory.
#pragma once

#include "kernels/cuda/device/ptx/primitives.cuh"
#include "kernels/cuda/device/ptx/programmatic_launch.cuh"
#include "kernels/cuda/device/tf32/split_args.cuh"
#include "kernels/cuda/device/tf32/tf32_halves.cuh"

namespace mlpserve::cuda {

constexpr int kSplitThreads = 256;
constexpr int kSplitVector = 4;  // values of a row that a thread takes at a time

// Zeros after the last column.
__device__ __forceinline__ float4 LoadFour(const float* row, int column, int columns) {
  const auto* vector = reinterpret_cast<const float4*>(row + column);
  const bool is_aligned = reinterpret_cast<uint64_t>(vector) % sizeof(float4) == 0;
  if (is_aligned && column + kSplitVector <= columns) return *vector;
  float v[kSplitVector] = {};
#pragma unroll
  for (int i = 0; i < kSplitVector; ++i) {
    if (column + i < columns) v[i] = row[column + i];
  }
  return {v[0], v[1], v[2], v[3]};
}

__device__ __forceinline__ uint32_t FiniteMagnitude(float x) {
  const uint32_t magnitude = MagnitudeBits(x);
  return magnitude < kInfinityBits ? magnitude : 0;
}

// MagnitudeBits of the row's largest finite value, for all threads.
__device__ __forceinline__ uint32_t LargestOf(const float* row, int columns) {
  __shared__ uint32_t largest_of_warp[kSplitThreads / 32];
  uint32_t largest = 0;
  for (int column = threadIdx.x * kSplitVector; column < columns;
       column += kSplitThreads * kSplitVector) {
    const float4 v = LoadFour(row, column, columns);
    largest = max(largest, max(max(FiniteMagnitude(v.x), FiniteMagnitude(v.y)),
                               max(FiniteMagnitude(v.z), FiniteMagnitude(v.w))));
  }
  largest = __reduce_max_sync(0xffffffffu, largest);
  if (threadIdx.x % 32 == 0) largest_of_warp[threadIdx.x / 32] = largest;
  __syncthreads();
#pragma unroll
  for (int warp = 0; warp < kSplitThreads / 32; ++warp) {
    largest = max(largest, largest_of_warp[warp]);
  }
  return largest;
}

extern "C" __global__ void __launch_bounds__(kSplitThreads)
    mlpserve_split_tf32(const __grid_constant__ SplitArgs args) {
  LetNextKernelStart();
  WaitForPreviousKernel();
  const float* from = args.from + blockIdx.x * args.from_stride;
  float* hi = args.to + blockIdx.x * args.to_stride;
  float* lo = hi + args.half_columns;
  const int exponent = args.scales ? ScaleExponent(LargestOf(from, args.columns)) : 0;
  const float scale = PowerOfTwo(exponent);
  for (int column = threadIdx.x * kSplitVector; column < args.half_columns;
       column += kSplitThreads * kSplitVector) {
    const float4 v = LoadFour(from, column, args.columns);
    const Halves a = SplitToTf32(v.x, scale), b = SplitToTf32(v.y, scale),
                 c = SplitToTf32(v.z, scale), d = SplitToTf32(v.w, scale);
    *reinterpret_cast<float4*>(hi + column) = {a.hi, b.hi, c.hi, d.hi};
    *reinterpret_cast<float4*>(lo + column) = {a.lo, b.lo, c.lo, d.lo};
  }
  if (args.scales && threadIdx.x == 0) lo[args.half_columns] = PowerOfTwo(-exponent);
}

}  // namespace mlpserve::cuda
