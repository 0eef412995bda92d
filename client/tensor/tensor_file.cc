#include "client/tensor/tensor_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/tensor/csv.h"
#include "client/tensor/npy.h"
#include "kernels/status/status_macros.h"
#include "server/safetensors/reader.h"
#include "server/safetensors/writer.h"

namespace mlpserve::client {
namespace {

constexpr std::string_view kSafetensorsEnding = ".safetensors";

constexpr std::pair<TensorType, ElementType> kTypes[] = {
    {TensorType::kBool, ElementType::kBool},  {TensorType::kU8, ElementType::kUint8},
    {TensorType::kU16, ElementType::kUint16}, {TensorType::kU32, ElementType::kUint32},
    {TensorType::kU64, ElementType::kUint64}, {TensorType::kI8, ElementType::kInt8},
    {TensorType::kI16, ElementType::kInt16},  {TensorType::kI32, ElementType::kInt32},
    {TensorType::kI64, ElementType::kInt64},  {TensorType::kF16, ElementType::kFp16},
    {TensorType::kBf16, ElementType::kBf16},  {TensorType::kF32, ElementType::kFp32},
    {TensorType::kF64, ElementType::kFp64},
};

bool EndsWith(std::string_view text, std::string_view ending) {
  return text.size() > ending.size() && text.substr(text.size() - ending.size()) == ending;
}

absl::Status UnknownEnding(const std::string& file) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": expected a name that ends with .safetensors, .npy or .csv"));
}

absl::Status WithFile(const std::string& file, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(file, ": ", status.message()));
}

absl::StatusOr<std::string> ReadFile(const std::string& file) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::string contents{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream.is_open() || stream.bad() || errno == EISDIR) {
    return absl::NotFoundError(
        absl::StrCat(file, ": expected a readable file, found: ", std::strerror(errno)));
  }
  return contents;
}

absl::Status WriteFile(const std::string& file, std::string_view contents) {
  errno = 0;
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  stream.close();
  if (!stream.good()) {
    return absl::UnavailableError(absl::StrCat(file, ": writing failed: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

std::string TensorNames(const SafetensorsHeader& header) {
  std::string names;
  for (const TensorInfo& tensor : header.tensors) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", tensor.name);
  }
  return names.empty() ? "no tensor" : names;
}

// The name of the tensor to read.
absl::StatusOr<std::string> Choose(const SafetensorsHeader& header, const TensorPath& path,
                                   std::string_view otherwise) {
  std::string name = path.tensor;
  if (name.empty()) {
    name = header.tensors.size() == 1 ? header.tensors.front().name : std::string(otherwise);
  }
  if (header.Find(name) != nullptr) return name;
  return absl::NotFoundError(
      absl::StrCat(path.file, ": expected a tensor '", name, "', found ", TensorNames(header)));
}

absl::StatusOr<Tensor> ReadSafetensors(const TensorPath& path, std::string_view otherwise) {
  MLPSERVE_ASSIGN_OR_RETURN(SafetensorsReader reader, SafetensorsReader::Open(path.file));
  MLPSERVE_ASSIGN_OR_RETURN(const std::string name, Choose(reader.header(), path, otherwise));
  const TensorInfo& info = *reader.Find(name);
  for (const auto& [stored, type] : kTypes) {
    if (stored != info.type) continue;
    MLPSERVE_ASSIGN_OR_RETURN(std::vector<std::byte> bytes, reader.ReadBytes(name));
    return Tensor{type, info.shape,
                  std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
  }
  return absl::InvalidArgumentError(absl::StrCat(path.file, ": tensor '", name,
                                                 "': expected integers, BOOL, F16, BF16, F32 or "
                                                 "F64, found ",
                                                 std::string(Name(info.type))));
}

absl::Status WriteSafetensorsFile(const std::string& file, std::string_view name,
                                  const Tensor& tensor) {
  for (const auto& [stored, type] : kTypes) {
    if (type != tensor.type) continue;
    const TensorToWrite written[] = {
        {std::string(name), stored, tensor.shape,
         std::as_bytes(std::span(tensor.bytes.data(), tensor.bytes.size()))}};
    return WriteSafetensors(file, written);
  }
  return absl::InternalError("a tensor type without a safetensors name");
}

}  // namespace

std::optional<FileFormat> FormatOf(std::string_view path) {
  if (EndsWith(path, kSafetensorsEnding)) return FileFormat::kSafetensors;
  if (EndsWith(path, ".npy")) return FileFormat::kNpy;
  if (EndsWith(path, ".csv")) return FileFormat::kCsv;
  return std::nullopt;
}

TensorPath TensorPath::Parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && EndsWith(text.substr(0, colon), kSafetensorsEnding)) {
    return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
  }
  return {std::string(text), {}};
}

absl::StatusOr<Tensor> ReadTensor(const TensorPath& path, std::string_view otherwise) {
  const std::optional<FileFormat> format = FormatOf(path.file);
  if (!format) return UnknownEnding(path.file);
  if (format == FileFormat::kSafetensors) return ReadSafetensors(path, otherwise);
  if (!path.tensor.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path.file,
                                                   ": expected a .safetensors file to "
                                                   "look for tensor '",
                                                   path.tensor, "' in"));
  }
  MLPSERVE_ASSIGN_OR_RETURN(const std::string contents, ReadFile(path.file));
  absl::StatusOr<Tensor> tensor =
      format == FileFormat::kNpy ? ParseNpy(contents) : ParseCsv(contents);
  if (!tensor.ok()) return WithFile(path.file, tensor.status());
  return tensor;
}

absl::Status WriteTensor(const std::string& file, std::string_view name, const Tensor& tensor) {
  const std::optional<FileFormat> format = FormatOf(file);
  if (!format) return UnknownEnding(file);
  if (format == FileFormat::kSafetensors) return WriteSafetensorsFile(file, name, tensor);
  if (format == FileFormat::kCsv) return WriteFile(file, FormatCsv(tensor));
  const absl::StatusOr<std::string> contents = FormatNpy(tensor);
  if (!contents.ok()) return WithFile(file, contents.status());
  return WriteFile(file, *contents);
}

}  // namespace mlpserve::client
