// The element types of the safetensors format.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mlpserve {

enum class TensorType : uint8_t {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF16,
  kBf16,
  kF32,
  kF64,
  kC64,  // complex: two F32
  kF8E5m2,
  kF8E4m3,
  kF8E8m0,
  kF6E2m3,
  kF6E3m2,
  kF4,
};

// Of one element. Elements narrower than a byte are packed without gaps.
int BitSize(TensorType type);
bool IsFloat(TensorType type);    // F64, F32, F16 or BF16: what a weight may be
bool IsInteger(TensorType type);  // signed, unsigned or BOOL

// As the file writes it: "F32", "BF16", "F8_E4M3".
std::string_view Name(TensorType type);
std::optional<TensorType> ParseTensorType(std::string_view name);

}  // namespace mlpserve
