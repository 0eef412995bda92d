// FP32 values as two of TF32 that add up to them, but for about 2^-23 of each: what three products
// of TF32 are made of (tf32_terms.cuh).
//
// TF32 has FP32's exponents, so that what rounding leaves of a small value may lie below them, and
// a large one may round to infinity. So a row is multiplied by a power of two that brings its
// largest value to [2^63, 2^64), and each of its sums is divided by it again. Beside a weight of at
// most 2^40 (MayBeSplit) no sum then overflows that FP32 would not, and what is lost is below
// 2^-190 of the row's largest value. An infinity or NaN is all in `lo`, which meets hi of the
// weight and nothing else: in `hi` it would also meet what rounding left of the weight, and
// infinity times that zero is NaN.
//
// Built on FloatFromBits, BitsFromFloat and RoundToTf32 alone, which come before this text: from
// ptx/primitives.cuh on a GPU, from the test's stand-ins on the host.
#pragma once

namespace mlpserve::cuda {

struct Halves {
  float hi, lo;
};

constexpr uint32_t kInfinityBits = 0x7f800000;
constexpr uint32_t kQuietNanBits = 0x7fc00000;

__device__ inline uint32_t MagnitudeBits(float x) { return BitsFromFloat(x) & 0x7fffffff; }

// Of -126 to 127.
__device__ inline float PowerOfTwo(int exponent) { return FloatFromBits((exponent + 127) << 23); }

// The exponent of a row's scale; `largest` is MagnitudeBits of its largest finite value.
__device__ inline int ScaleExponent(uint32_t largest) {
  constexpr int kLargestExponent = 63;
  constexpr int kMostScale = 126;  // whose inverse is a normal number
  if (largest == 0) return 0;
  const int exponent = kLargestExponent - (static_cast<int>(largest >> 23) - 127);
  return exponent < kMostScale ? exponent : kMostScale;
}

__device__ inline Halves SplitToTf32(float x, float scale) {
  const uint32_t magnitude = MagnitudeBits(x);
  if (magnitude > kInfinityBits) return {0.0f, FloatFromBits(kQuietNanBits)};
  if (magnitude == kInfinityBits) return {0.0f, x};
  const float scaled = x * scale;
  const float hi = FloatFromBits(RoundToTf32(BitsFromFloat(scaled)));
  return {hi, scaled - hi};
}

}  // namespace mlpserve::cuda
