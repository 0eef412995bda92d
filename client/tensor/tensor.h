// A tensor in memory, as a file or a server's answer holds it, and its conversions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mlpserve::client {

enum class ElementType : uint8_t {
  kBool,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFp16,
  kBf16,
  kFp32,
  kFp64,
};

// The Open Inference Protocol's names: "FP32", "INT64".
std::string_view Name(ElementType type);
std::optional<ElementType> ParseElementType(std::string_view name);
size_t ByteSize(ElementType type);
bool IsInteger(ElementType type);  // or BOOL

struct Tensor {
  ElementType type = ElementType::kFp32;
  std::vector<int64_t> shape;
  std::string bytes;  // row-major, little-endian, exactly as many as type and shape say
};

// "FP32 [450,64]"
std::string Describe(ElementType type, std::span<const int64_t> shape);
std::string Describe(const Tensor& tensor);

// The bytes of such a tensor. INVALID_ARGUMENT: a negative size, or more than 2^62 bytes.
absl::StatusOr<int64_t> ByteCount(ElementType type, std::span<const int64_t> shape);

// Each value rounded to FP32.
std::vector<float> ToFloats(const Tensor& tensor);

// INVALID_ARGUMENT: a value that is no integer, or out of range.
absl::StatusOr<std::vector<int64_t>> ToIntegers(const Tensor& tensor);

// `type` is FP32, FP16 or BF16; rounded to nearest. `shape` must hold as many values.
Tensor FromFloats(std::span<const float> values, std::vector<int64_t> shape, ElementType type);

}  // namespace mlpserve::client
