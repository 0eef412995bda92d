#include "server/safetensors/header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status/status_macros.h"
#include "server/text/strict_json.h"

namespace mlpserve {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr char kMetadataKey[] = "__metadata__";

std::string Text(std::string_view text) { return std::string(text); }

std::string RangeString(uint64_t begin, uint64_t end) {
  return absl::StrCat("[", begin, ", ", end, "]");
}

// Of a tensor's data; nothing if the product does not fit.
std::optional<uint64_t> DataBits(TensorType type, const std::vector<int64_t>& shape) {
  uint64_t bits = static_cast<uint64_t>(BitSize(type));
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(dimension), &bits)) return std::nullopt;
  }
  return bits;
}

// Makes tensors of the header's JSON events. Offsets stay relative to the data.
class HeaderBuilder {
 public:
  HeaderBuilder(const std::string& file, uint64_t data_bytes)
      : file_(file), data_bytes_(data_bytes) {}

  absl::Status On(const JsonEvent& event) {
    switch (event.depth) {
      case 0:
        return absl::OkStatus();  // the header's own braces
      case 1:
        return OnEntry(event);
      case 2:
        return in_metadata_ ? OnMetadata(event) : OnField(event);
      default:
        return OnElement(event);
    }
  }

  SafetensorsHeader Take() { return std::move(header_); }

 private:
  enum class Field : uint8_t { kType, kShape, kOffsets };
  static constexpr std::string_view kFieldNames[] = {"dtype", "shape", "data_offsets"};

  absl::Status OnEntry(const JsonEvent& event) {
    switch (event.kind) {
      case JsonKind::kKey:
        in_metadata_ = event.text == kMetadataKey;
        tensor_ = {.name = event.text};
        offsets_.clear();
        has_.fill(false);
        return absl::OkStatus();
      case JsonKind::kBeginObject:
        return absl::OkStatus();
      case JsonKind::kEndObject:
        return in_metadata_ ? absl::OkStatus() : FinishTensor();
      default:
        return Expected("", "an object", event.kind);
    }
  }

  absl::Status OnMetadata(const JsonEvent& event) {
    if (event.kind == JsonKind::kKey) {
      metadata_key_ = event.text;
      return absl::OkStatus();
    }
    if (event.kind != JsonKind::kString) {
      return Expected(absl::StrCat(Quoted(metadata_key_), ": "), "a string", event.kind);
    }
    header_.metadata[metadata_key_] = event.text;
    return absl::OkStatus();
  }

  absl::Status OnField(const JsonEvent& event) {
    if (event.kind == JsonKind::kKey) return OnFieldName(event.text);
    const std::string place = absl::StrCat(Text(field_name()), ": ");
    if (field_ != Field::kType) {
      const bool array = event.kind == JsonKind::kBeginArray || event.kind == JsonKind::kEndArray;
      return array ? absl::OkStatus() : Expected(place, "an array of integers", event.kind);
    }
    if (event.kind != JsonKind::kString) return Expected(place, "a string", event.kind);
    const std::optional<TensorType> type = ParseTensorType(event.text);
    if (!type) return Error(absl::StrCat(place, "unknown type ", Quoted(event.text)));
    tensor_.type = *type;
    return absl::OkStatus();
  }

  absl::Status OnFieldName(const std::string& name) {
    const auto* found = std::find(std::begin(kFieldNames), std::end(kFieldNames), name);
    if (found == std::end(kFieldNames)) {
      return Error(
          absl::StrCat("expected dtype, shape and data_offsets, found the field ", Quoted(name)));
    }
    const auto index = static_cast<size_t>(found - std::begin(kFieldNames));
    field_ = static_cast<Field>(index);
    has_[index] = true;
    return absl::OkStatus();
  }

  absl::Status OnElement(const JsonEvent& event) {
    const std::string place = absl::StrCat(Text(field_name()), ": ");
    if (event.kind != JsonKind::kInteger) {
      return Expected(place, "an integer of at least 0", event.kind);
    }
    if (field_ == Field::kOffsets) {
      offsets_.push_back(event.integer);
      return offsets_.size() <= 2 ? absl::OkStatus()
                                  : Error(absl::StrCat(place, "expected 2 integers, found more"));
    }
    if (event.integer > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Error(absl::StrCat(place, "expected dimensions below 2^63, found ", event.integer));
    }
    tensor_.shape.push_back(static_cast<int64_t>(event.integer));
    return tensor_.shape.size() <= kMaxTensorRank
               ? absl::OkStatus()
               : Error(absl::StrCat(place, "expected at most ", kMaxTensorRank,
                                    " dimensions, found more"));
  }

  absl::Status FinishTensor() {
    for (size_t i = 0; i < has_.size(); ++i) {
      if (!has_[i])
        return Error(absl::StrCat("expected the field ", Text(kFieldNames[i]), ", found none"));
    }
    if (offsets_.size() != 2) {
      return Error(absl::StrCat("data_offsets: expected 2 integers, found ", offsets_.size()));
    }
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    if (tensor_.begin > tensor_.end) {
      return Error(absl::StrCat("data_offsets: expected begin <= end, found ",
                                RangeString(tensor_.begin, tensor_.end)));
    }
    if (tensor_.end > data_bytes_) {
      return Error(absl::StrCat("data_offsets: expected at most the ", data_bytes_,
                                " bytes of data in the file, found ",
                                RangeString(tensor_.begin, tensor_.end)));
    }
    MLPSERVE_RETURN_IF_ERROR(CheckSize());
    header_.tensors.push_back(std::move(tensor_));
    return absl::OkStatus();
  }

  absl::Status CheckSize() const {
    const std::string what =
        absl::StrCat(Text(Name(tensor_.type)), " of shape ", ShapeString(tensor_.shape));
    const std::optional<uint64_t> bits = DataBits(tensor_.type, tensor_.shape);
    if (!bits) return Error(absl::StrCat(what, ": the size does not fit 64 bits"));
    if (*bits % 8 != 0) {
      return Error(absl::StrCat(what, ": expected whole bytes, found ", *bits, " bits"));
    }
    const uint64_t expected = *bits / 8;
    if (expected > kMaxTensorBytes) {
      return Error(
          absl::StrCat(what, ": expected at most ", kMaxTensorBytes, " bytes, found ", expected));
    }
    if (expected != tensor_.bytes()) {
      return Error(absl::StrCat("data_offsets: expected ", expected, " bytes for ", what,
                                ", found ", tensor_.bytes()));
    }
    return absl::OkStatus();
  }

  absl::Status Expected(const std::string& place, const std::string& what, JsonKind found) const {
    return Error(absl::StrCat(place, "expected ", what, ", found ", Text(Name(found))));
  }

  absl::Status Error(const std::string& message) const {
    return absl::InvalidArgumentError(
        absl::StrCat(file_, in_metadata_ ? ": " : ": tensor ",
                     in_metadata_ ? kMetadataKey : Quoted(tensor_.name), ": ", message));
  }

  std::string_view field_name() const { return kFieldNames[static_cast<size_t>(field_)]; }

  const std::string& file_;
  const uint64_t data_bytes_;
  SafetensorsHeader header_;
  bool in_metadata_ = false;
  std::string metadata_key_;
  TensorInfo tensor_;              // the one at hand
  std::vector<uint64_t> offsets_;  // its data_offsets
  std::array<bool, 3> has_ = {};   // its fields
  Field field_ = Field::kType;     // the one at hand
};

// The tensors, in the order of their offsets, must follow one another from 0 to `data_bytes`.
absl::Status CheckCoverage(std::vector<TensorInfo>& tensors, uint64_t data_bytes,
                           const std::string& file) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t covered = 0;
  const TensorInfo* previous = nullptr;
  for (const TensorInfo& tensor : tensors) {
    const std::string found =
        absl::StrCat(file, ": tensor ", Quoted(tensor.name), ": expected data_offsets from ",
                     covered, " on, found ", RangeString(tensor.begin, tensor.end));
    if (tensor.begin < covered) {
      return absl::InvalidArgumentError(
          absl::StrCat(found, ", which overlap tensor ", Quoted(previous->name)));
    }
    if (tensor.begin > covered) {
      return absl::InvalidArgumentError(absl::StrCat(found, ", which leave a hole"));
    }
    covered = tensor.end;
    previous = &tensor;
  }
  if (covered == data_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      file, ": expected ", covered, " bytes of data, which the tensors take, found ", data_bytes));
}

}  // namespace

int64_t TensorInfo::elements() const {
  int64_t product = 1;
  for (const int64_t dimension : shape) product *= dimension;
  return product;
}

const TensorInfo* SafetensorsHeader::Find(std::string_view name) const {
  const auto found = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const TensorInfo& tensor, std::string_view n) { return tensor.name < n; });
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

std::string ShapeString(std::span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<uint64_t> ParseHeaderLength(std::string_view first_bytes, uint64_t file_bytes,
                                           const std::string& file) {
  if (file_bytes < kLengthBytes || first_bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": expected 8 bytes of header length, found a file of ", file_bytes, " bytes"));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint64_t{static_cast<uint8_t>(first_bytes[i])} << (8 * i);
  }
  if (length < 2 || length > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": expected a header length of 2 to ",
                                                   kMaxHeaderBytes, " bytes, found ", length));
  }
  if (length > file_bytes - kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": expected a header of ", length,
                                                   " bytes, found only ", file_bytes - kLengthBytes,
                                                   " in the file"));
  }
  return length;
}

absl::StatusOr<SafetensorsHeader> ParseHeader(std::string_view json, uint64_t file_bytes,
                                              const std::string& file) {
  const uint64_t data_start = kLengthBytes + json.size();
  if (file_bytes < data_start) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": expected at least ", data_start, " bytes, found ", file_bytes));
  }
  if (json.empty() || json.front() != '{') {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": expected a header that begins with {, found ", Quoted(json.substr(0, 16))));
  }
  json = json.substr(0, json.find_last_not_of(' ') + 1);  // the padding may be nothing but spaces
  if (json.back() != '}') {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": expected a header that ends with } and spaces, found ",
                     Quoted(json.substr(json.size() - std::min<size_t>(json.size(), 16)))));
  }
  const uint64_t data_bytes = file_bytes - data_start;
  HeaderBuilder builder(file, data_bytes);
  bool rule_broken = false;  // the builder's errors name the file already
  absl::Status status = ParseStrictJson(json, [&](const JsonEvent& event) {
    absl::Status result = builder.On(event);
    rule_broken = !result.ok();
    return result;
  });
  if (rule_broken) return status;
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": header: ", status.message()));
  }
  SafetensorsHeader header = builder.Take();
  status = CheckCoverage(header.tensors, data_bytes, file);
  if (!status.ok()) return status;
  for (TensorInfo& tensor : header.tensors) {
    tensor.begin += data_start;
    tensor.end += data_start;
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  return header;
}

absl::StatusOr<SafetensorsHeader> ParseFile(std::string_view bytes, const std::string& file) {
  MLPSERVE_ASSIGN_OR_RETURN(const uint64_t length, ParseHeaderLength(bytes, bytes.size(), file));
  return ParseHeader(bytes.substr(kLengthBytes, length), bytes.size(), file);
}

}  // namespace mlpserve
