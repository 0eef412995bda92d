// ptx/primitives.cuh on the host, for emitted epilogues: each instruction with errors spread
// over the range that the PTX ISA documents for it, so that a formula which magnifies them is seen.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
#define __device__
#define __forceinline__ inline
// NOLINTEND(bugprone-reserved-identifier)

namespace mlpserve::cuda {

// A number in [-1, 1] that depends on the bits of x.
inline double ErrorOf(float x) {
  const uint32_t hash = std::bit_cast<uint32_t>(x) * 2654435761u;
  return static_cast<double>(static_cast<int32_t>(hash)) * 0x1p-31;
}

inline float FlushSubnormal(double y) {
  return std::fabs(y) < 0x1p-126 ? static_cast<float>(std::copysign(0.0, y))
                                 : static_cast<float>(y);
}

inline float Exp2(float x) {
  const double y = std::exp2(static_cast<double>(x));
  return FlushSubnormal(x == 0 ? y : y * (1 + ErrorOf(x) * 0x1p-22));
}

inline float Reciprocal(float x) {
  return FlushSubnormal(1.0 / static_cast<double>(x) * (1 + ErrorOf(x) * 0x1p-23));
}

inline float MaxNan(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<float>::quiet_NaN();
  return std::max(a, b);
}

inline float MinNan(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<float>::quiet_NaN();
  return std::min(a, b);
}

inline float FloatFromBits(uint32_t bits) { return std::bit_cast<float>(bits); }

inline uint32_t BitsFromFloat(float x) { return std::bit_cast<uint32_t>(x); }

inline float LoadFromL2(const float* p) { return *p; }

// Of finite values.
inline uint32_t RoundToTf32(uint32_t bits) { return (bits + 0x1000) & ~uint32_t{0x1fff}; }

}  // namespace mlpserve::cuda
