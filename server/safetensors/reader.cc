#include "server/safetensors/reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"
#include "server/safetensors/other_format.h"
#include "server/text/strict_json.h"

namespace mlpserve {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr size_t kHeaderLengthBytes = 8;
constexpr size_t kChunkBytes = size_t{1} << 20;

// Memory for a tensor, whose size a file of someone else's making says.
template <typename T>
absl::StatusOr<std::vector<T>> Allocate(int64_t elements, const std::string& context) {
  try {
    return std::vector<T>(static_cast<size_t>(elements));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat(context, ": no memory for ", elements, " values"));
  } catch (const std::length_error&) {
    return absl::ResourceExhaustedError(
        absl::StrCat(context, ": no memory for ", elements, " values"));
  }
}

// Reads `Stored` values from byte `offset` on chunk by chunk, so that no second copy of a tensor is
// in memory.
template <typename Stored, typename T, typename Convert>
absl::Status ReadConverted(const File& file, uint64_t offset, std::span<T> to, Convert convert) {
  std::vector<Stored> chunk(std::min(kChunkBytes / sizeof(Stored), to.size()));
  while (!to.empty()) {
    const std::span<Stored> stored(chunk.data(), std::min(chunk.size(), to.size()));
    MLPSERVE_RETURN_IF_ERROR(file.ReadAt(offset, std::as_writable_bytes(stored)));
    std::transform(stored.begin(), stored.end(), to.begin(), convert);
    offset += stored.size_bytes();
    to = to.subspan(stored.size());
  }
  return absl::OkStatus();
}

template <typename T, typename Stored, typename Convert>
absl::StatusOr<std::vector<T>> ReadAs(const File& file, const TensorInfo& tensor, Convert convert) {
  MLPSERVE_ASSIGN_OR_RETURN(
      std::vector<T> values,
      Allocate<T>(tensor.elements(), absl::StrCat(file.path(), ": tensor ", Quoted(tensor.name))));
  MLPSERVE_RETURN_IF_ERROR(
      (ReadConverted<Stored>(file, tensor.begin, std::span<T>(values), convert)));
  return values;
}

absl::Status NoFloat(const File& file, const TensorInfo& tensor) {
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", Quoted(tensor.name),
                                                 ": expected F64, F32, F16 or BF16, found ",
                                                 std::string(Name(tensor.type))));
}

template <typename T>
absl::StatusOr<std::vector<T>> ReadFloating(const File& file, const TensorInfo& tensor) {
  switch (tensor.type) {
    case TensorType::kF64:
      return ReadAs<T, double>(file, tensor, [](double v) { return static_cast<T>(v); });
    case TensorType::kF32:
      return ReadAs<T, float>(file, tensor, [](float v) { return static_cast<T>(v); });
    case TensorType::kF16:
      return ReadAs<T, uint16_t>(file, tensor, [](uint16_t v) { return T{FloatFromFp16(v)}; });
    case TensorType::kBf16:
      return ReadAs<T, uint16_t>(file, tensor, [](uint16_t v) { return T{FloatFromBf16(v)}; });
    default:
      return NoFloat(file, tensor);
  }
}

template <typename Stored>
absl::StatusOr<std::vector<int64_t>> ReadIntegers(const File& file, const TensorInfo& tensor) {
  return ReadAs<int64_t, Stored>(file, tensor, [](Stored v) { return static_cast<int64_t>(v); });
}

// A value over 2^63 - 1 would turn negative.
absl::StatusOr<std::vector<int64_t>> ReadUnsigned64(const File& file, const TensorInfo& tensor) {
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<int64_t> values, ReadIntegers<uint64_t>(file, tensor));
  const auto wrapped = std::find_if(values.begin(), values.end(), [](int64_t v) { return v < 0; });
  if (wrapped == values.end()) return values;
  return absl::InvalidArgumentError(absl::StrCat(
      file.path(), ": tensor ", Quoted(tensor.name), ": expected values up to 2^63 - 1, found ",
      static_cast<uint64_t>(*wrapped), " at ", wrapped - values.begin()));
}

}  // namespace

absl::StatusOr<SafetensorsReader> SafetensorsReader::Open(const std::string& path) {
  MLPSERVE_ASSIGN_OR_RETURN(File file, File::Open(path));
  std::string first(std::min<uint64_t>(file.size(), kOtherFormatBytes), '\0');
  MLPSERVE_RETURN_IF_ERROR(file.ReadAt(0, std::as_writable_bytes(std::span(first))));
  const std::string_view other = NameOtherFormat(first);
  if (!other.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a safetensors file, found ", std::string(other)));
  }
  const std::string length_bytes = first.substr(0, kHeaderLengthBytes);
  MLPSERVE_ASSIGN_OR_RETURN(const uint64_t length,
                            ParseHeaderLength(length_bytes, file.size(), path));
  std::string json(length, '\0');
  MLPSERVE_RETURN_IF_ERROR(
      file.ReadAt(length_bytes.size(), std::as_writable_bytes(std::span(json))));
  MLPSERVE_ASSIGN_OR_RETURN(SafetensorsHeader header, ParseHeader(json, file.size(), path));
  return SafetensorsReader(std::move(file), std::move(header));
}

absl::StatusOr<const TensorInfo*> SafetensorsReader::Require(const std::string& name) const {
  const TensorInfo* tensor = Find(name);
  if (tensor != nullptr) return tensor;
  return absl::NotFoundError(
      absl::StrCat(path(), ": expected a tensor ", Quoted(name), ", found none of that name"));
}

absl::StatusOr<const TensorInfo*> SafetensorsReader::RequireFloat(const std::string& name) const {
  MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* tensor, Require(name));
  return IsFloat(tensor->type) ? absl::StatusOr<const TensorInfo*>(tensor)
                               : NoFloat(file_, *tensor);
}

absl::Status SafetensorsReader::ReadFloatBytes(const TensorInfo& tensor, int64_t offset,
                                               std::span<std::byte> to) const {
  const auto start = static_cast<uint64_t>(offset);
  if (tensor.type != TensorType::kF64) return file_.ReadAt(tensor.begin + start, to);
  const std::span<float> values(reinterpret_cast<float*>(to.data()), to.size() / sizeof(float));
  return ReadConverted<double>(file_, tensor.begin + start * 2, values,
                               [](double v) { return static_cast<float>(v); });
}

absl::StatusOr<double> SafetensorsReader::ReadDouble(const TensorInfo& tensor,
                                                     int64_t index) const {
  const auto element_bytes = static_cast<uint64_t>(BitSize(tensor.type)) / 8;
  TensorInfo element = tensor;
  element.begin += static_cast<uint64_t>(index) * element_bytes;
  element.end = element.begin + element_bytes;
  element.shape = {1};
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<double> value, ReadFloating<double>(file_, element));
  return value.front();
}

absl::StatusOr<std::vector<float>> SafetensorsReader::ReadFloats(const std::string& name) const {
  MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* tensor, Require(name));
  return ReadFloating<float>(file_, *tensor);
}

absl::StatusOr<std::vector<double>> SafetensorsReader::ReadDoubles(const std::string& name) const {
  MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* tensor, Require(name));
  return ReadFloating<double>(file_, *tensor);
}

absl::StatusOr<std::vector<int64_t>> SafetensorsReader::ReadInts(const std::string& name) const {
  MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* found, Require(name));
  const TensorInfo& tensor = *found;
  switch (tensor.type) {
    case TensorType::kBool:
      return ReadAs<int64_t, uint8_t>(file_, tensor, [](uint8_t v) { return int64_t{v != 0}; });
    case TensorType::kU8:
      return ReadIntegers<uint8_t>(file_, tensor);
    case TensorType::kI8:
      return ReadIntegers<int8_t>(file_, tensor);
    case TensorType::kU16:
      return ReadIntegers<uint16_t>(file_, tensor);
    case TensorType::kI16:
      return ReadIntegers<int16_t>(file_, tensor);
    case TensorType::kU32:
      return ReadIntegers<uint32_t>(file_, tensor);
    case TensorType::kI32:
      return ReadIntegers<int32_t>(file_, tensor);
    case TensorType::kU64:
      return ReadUnsigned64(file_, tensor);
    case TensorType::kI64:
      return ReadIntegers<int64_t>(file_, tensor);
    default:
      return absl::InvalidArgumentError(absl::StrCat(path(), ": tensor ", Quoted(name),
                                                     ": expected integers, found ",
                                                     std::string(Name(tensor.type))));
  }
}

absl::StatusOr<std::vector<std::byte>> SafetensorsReader::ReadBytes(const std::string& name) const {
  MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* tensor, Require(name));
  MLPSERVE_ASSIGN_OR_RETURN(
      std::vector<std::byte> bytes,
      Allocate<std::byte>(static_cast<int64_t>(tensor->bytes()),
                          absl::StrCat(path(), ": tensor ", Quoted(tensor->name))));
  MLPSERVE_RETURN_IF_ERROR(file_.ReadAt(tensor->begin, bytes));
  return bytes;
}

}  // namespace mlpserve
