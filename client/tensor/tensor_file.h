// Reads and writes tensors in files; the name's ending tells the format: .safetensors, .npy or
// .csv. A file is held in memory as a whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/tensor/tensor.h"

namespace mlpserve::client {

enum class FileFormat : uint8_t { kSafetensors, kNpy, kCsv };

std::optional<FileFormat> FormatOf(std::string_view path);

// A file and, for safetensors, the tensor in it: "test.safetensors:label".
struct TensorPath {
  std::string file;
  std::string tensor;  // empty: not named

  // Only a colon behind ".safetensors" separates.
  static TensorPath Parse(std::string_view text);
};

// Of a safetensors file with several tensors and none named, takes the one called `otherwise`.
// Errors name the file: INVALID_ARGUMENT, an unknown ending or contents that break the format;
// NOT_FOUND, no such file or tensor, with the tensors that there are.
absl::StatusOr<Tensor> ReadTensor(const TensorPath& path, std::string_view otherwise);

// Replaces the file. `name` is the tensor's, in safetensors. UNAVAILABLE: writing failed.
absl::Status WriteTensor(const std::string& file, std::string_view name, const Tensor& tensor);

}  // namespace mlpserve::client
