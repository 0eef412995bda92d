// Conversions between FP32 and the shorter formats, rounded to nearest, ties to even. Exact for
// every input: subnormals are kept, overflow gives infinity, a NaN stays a (quiet) NaN. Scalar and
// portable: what the oracle, the tests and the load-time packing of weights use.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/spec/datatype.h"

namespace mlpserve {

// Clears the `dropped` low bits of an FP32 value's significand, rounding. The carry may run into
// the exponent, up to infinity, which is what rounding means there.
inline float RoundSignificand(float value, int dropped) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t mask = (uint32_t{1} << dropped) - 1;
  if (std::isnan(value)) return std::bit_cast<float>((bits | 0x00400000u) & ~mask);
  const uint32_t lowest_kept = (bits >> dropped) & 1;
  return std::bit_cast<float>((bits + (mask >> 1) + lowest_kept) & ~mask);
}

inline float RoundToTf32(float value) { return RoundSignificand(value, 13); }

inline uint16_t Bf16FromFloat(float value) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(RoundSignificand(value, 16)) >> 16);
}

inline float FloatFromBf16(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

inline uint16_t Fp16FromFloat(float value) {
  const uint16_t sign = static_cast<uint16_t>((std::bit_cast<uint32_t>(value) >> 16) & 0x8000u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 65520.0f) return static_cast<uint16_t>(sign | 0x7c00u);  // half-way to 2^16
  if (magnitude < 0x1p-14f) {
    // Subnormal: a whole number of 2^-24. Adding 2^-1 leaves FP32 exactly that many bits, and the
    // addition rounds; the largest, 1024, is the bit pattern of the smallest normal number.
    const uint32_t sum = std::bit_cast<uint32_t>(magnitude + 0.5f);
    return static_cast<uint16_t>(sign | (sum - std::bit_cast<uint32_t>(0.5f)));
  }
  const uint32_t bits = std::bit_cast<uint32_t>(RoundSignificand(magnitude, 13));
  return static_cast<uint16_t>(sign | ((bits - 0x38000000u) >> 13));  // exponent bias 127 to 15
}

inline float FloatFromFp16(uint16_t value) {
  const uint32_t sign = uint32_t{value & 0x8000u} << 16;
  const uint32_t magnitude = value & 0x7fffu;
  if (magnitude >= 0x7c00u) {
    return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  }
  if (magnitude < 0x400u) {
    return std::copysign(static_cast<float>(magnitude) * 0x1p-24f, std::bit_cast<float>(sign));
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
}

// The value as an operand of a product in `type`.
inline float RoundTo(ComputeType type, float value) {
  switch (type) {
    case ComputeType::kTf32:
      return RoundToTf32(value);
    case ComputeType::kFp16:
      return FloatFromFp16(Fp16FromFloat(value));
    case ComputeType::kBf16:
      return FloatFromBf16(Bf16FromFloat(value));
    case ComputeType::kFp32:
      break;
  }
  return value;
}

// One element of a tensor, ByteSize(type) bytes at `element` without alignment.
inline float ReadElement(DataType type, const std::byte* element) {
  if (type == DataType::kFp32) {
    float value;
    std::memcpy(&value, element, sizeof(value));
    return value;
  }
  uint16_t value;
  std::memcpy(&value, element, sizeof(value));
  return type == DataType::kFp16 ? FloatFromFp16(value) : FloatFromBf16(value);
}

inline void WriteElement(DataType type, float value, std::byte* element) {
  if (type == DataType::kFp32) {
    std::memcpy(element, &value, sizeof(value));
    return;
  }
  const uint16_t bits = type == DataType::kFp16 ? Fp16FromFloat(value) : Bf16FromFloat(value);
  std::memcpy(element, &bits, sizeof(bits));
}

}  // namespace mlpserve
