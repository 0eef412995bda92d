#include "client/tensor/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::client {
namespace {

struct TypeEntry {
  ElementType type;
  std::string_view name;
  size_t bytes;
};

constexpr TypeEntry kTypes[] = {
    {ElementType::kBool, "BOOL", 1},     {ElementType::kUint8, "UINT8", 1},
    {ElementType::kUint16, "UINT16", 2}, {ElementType::kUint32, "UINT32", 4},
    {ElementType::kUint64, "UINT64", 8}, {ElementType::kInt8, "INT8", 1},
    {ElementType::kInt16, "INT16", 2},   {ElementType::kInt32, "INT32", 4},
    {ElementType::kInt64, "INT64", 8},   {ElementType::kFp16, "FP16", 2},
    {ElementType::kBf16, "BF16", 2},     {ElementType::kFp32, "FP32", 4},
    {ElementType::kFp64, "FP64", 8},
};

const TypeEntry& Entry(ElementType type) { return kTypes[static_cast<size_t>(type)]; }

template <class Stored, class Visit>
void ForEach(const std::string& bytes, Visit visit) {
  for (size_t at = 0; at + sizeof(Stored) <= bytes.size(); at += sizeof(Stored)) {
    Stored value;
    std::memcpy(&value, bytes.data() + at, sizeof(Stored));
    visit(value);
  }
}

// Calls visit(value) for every value, in the C++ type that holds it exactly.
template <class Visit>
void ForEachValue(const Tensor& tensor, Visit visit) {
  const std::string& bytes = tensor.bytes;
  switch (tensor.type) {
    case ElementType::kBool:
    case ElementType::kUint8:
      return ForEach<uint8_t>(bytes, visit);
    case ElementType::kUint16:
      return ForEach<uint16_t>(bytes, visit);
    case ElementType::kUint32:
      return ForEach<uint32_t>(bytes, visit);
    case ElementType::kUint64:
      return ForEach<uint64_t>(bytes, visit);
    case ElementType::kInt8:
      return ForEach<int8_t>(bytes, visit);
    case ElementType::kInt16:
      return ForEach<int16_t>(bytes, visit);
    case ElementType::kInt32:
      return ForEach<int32_t>(bytes, visit);
    case ElementType::kInt64:
      return ForEach<int64_t>(bytes, visit);
    case ElementType::kFp16:
      return ForEach<uint16_t>(bytes, [&](uint16_t half) { visit(FloatFromFp16(half)); });
    case ElementType::kBf16:
      return ForEach<uint16_t>(bytes, [&](uint16_t half) { visit(FloatFromBf16(half)); });
    case ElementType::kFp32:
      return ForEach<float>(bytes, visit);
    case ElementType::kFp64:
      return ForEach<double>(bytes, visit);
  }
}

template <class Value>
std::optional<int64_t> ExactInteger(Value value) {
  if constexpr (std::is_floating_point_v<Value>) {
    if (!(std::abs(value) < Value{0x1p62}) || value != std::floor(value)) return std::nullopt;
  } else if constexpr (std::is_same_v<Value, uint64_t>) {
    if (value > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
  }
  return static_cast<int64_t>(value);
}

}  // namespace

std::string_view Name(ElementType type) { return Entry(type).name; }

size_t ByteSize(ElementType type) { return Entry(type).bytes; }

bool IsInteger(ElementType type) { return type < ElementType::kFp16; }

std::optional<ElementType> ParseElementType(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kTypes), std::end(kTypes),
                   [&](const TypeEntry& candidate) { return candidate.name == name; });
  if (found == std::end(kTypes)) return std::nullopt;
  return found->type;
}

std::string Describe(ElementType type, std::span<const int64_t> shape) {
  const std::string_view name = Name(type);
  return absl::StrCat(std::string(name), " [", absl::StrJoin(shape.begin(), shape.end(), ","), "]");
}

std::string Describe(const Tensor& tensor) { return Describe(tensor.type, tensor.shape); }

absl::StatusOr<int64_t> ByteCount(ElementType type, std::span<const int64_t> shape) {
  constexpr int64_t kLimit = int64_t{1} << 62;
  int64_t count = static_cast<int64_t>(ByteSize(type));
  // A zero anywhere makes the tensor empty, however large the other sizes are.
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  for (const int64_t size : shape) {
    if (size < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected sizes of 0 or more, found ", Describe(type, shape)));
    }
    if (empty) continue;
    if (size > kLimit / count) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected at most 2^62 bytes, found ", Describe(type, shape)));
    }
    count *= size;
  }
  return empty ? 0 : count;
}

std::vector<float> ToFloats(const Tensor& tensor) {
  std::vector<float> values;
  values.reserve(tensor.bytes.size() / ByteSize(tensor.type));
  ForEachValue(tensor, [&](auto value) { values.push_back(static_cast<float>(value)); });
  return values;
}

absl::StatusOr<std::vector<int64_t>> ToIntegers(const Tensor& tensor) {
  std::vector<int64_t> values;
  values.reserve(tensor.bytes.size() / ByteSize(tensor.type));
  absl::Status status;
  ForEachValue(tensor, [&](auto value) {
    const std::optional<int64_t> integer = ExactInteger(value);
    if (!integer && status.ok()) {
      status = absl::InvalidArgumentError(
          absl::StrCat("value ", values.size(), ": expected an integer, found ", value));
    }
    values.push_back(integer.value_or(0));
  });
  MLPSERVE_RETURN_IF_ERROR(status);
  return values;
}

Tensor FromFloats(std::span<const float> values, std::vector<int64_t> shape, ElementType type) {
  Tensor tensor{.type = type, .shape = std::move(shape), .bytes = {}};
  tensor.bytes.resize(values.size() * ByteSize(type));
  if (type == ElementType::kFp32) {
    if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
    return tensor;
  }
  const auto convert = type == ElementType::kBf16 ? Bf16FromFloat : Fp16FromFloat;
  char* to = tensor.bytes.data();
  for (const float value : values) {
    const uint16_t half = convert(value);
    std::memcpy(to, &half, sizeof(half));
    to += sizeof(half);
  }
  return tensor;
}

}  // namespace mlpserve::client
