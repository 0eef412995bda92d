// Reads tensors from a safetensors file (https://github.com/huggingface/safetensors, "Format").
//
// The header is checked to the letter at Open (header.h states the rules), so that what
// is read later lies inside the file. Tensor data is read by pread when asked for, never mapped: a
// file that shrinks or is replaced under the server gives an error, not a SIGBUS.
//
// Threads: a reader may be used from several at once. Memory: the header, and what a call returns.
// Values are not judged: NaN and infinity pass.
// Errors: NOT_FOUND, no such file or tensor; INVALID_ARGUMENT, the file breaks the format or the
// tensor is of another kind than asked for; RESOURCE_EXHAUSTED, too large for memory; UNAVAILABLE,
// reading failed. Messages name the file and the tensor, what was expected and what was found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/safetensors/file.h"
#include "server/safetensors/header.h"

namespace mlpserve {

class SafetensorsReader {
 public:
  static absl::StatusOr<SafetensorsReader> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const SafetensorsHeader& header() const { return header_; }
  // Null if the file has no such tensor.
  const TensorInfo* Find(const std::string& name) const { return header_.Find(name); }

  // The tensor of that name, which is F64, F32, F16 or BF16.
  absl::StatusOr<const TensorInfo*> RequireFloat(const std::string& name) const;
  // Its bytes from `offset` on; of an F64 tensor those of its numbers as FP32, whole ones.
  absl::Status ReadFloatBytes(const TensorInfo& tensor, int64_t offset,
                              std::span<std::byte> to) const;

  // One number of such a tensor.
  absl::StatusOr<double> ReadDouble(const TensorInfo& tensor, int64_t index) const;

  // An F64, F32, F16 or BF16 tensor, row-major. F64 values are rounded to FP32 once, to nearest
  // even, and overflow to infinity; the others are exact.
  absl::StatusOr<std::vector<float>> ReadFloats(const std::string& name) const;
  // The numbers of such a tensor in float64, which holds those of all four types exactly.
  absl::StatusOr<std::vector<double>> ReadDoubles(const std::string& name) const;
  // A BOOL (0 or 1) or integer tensor. A U64 value over 2^63 - 1 is an error.
  absl::StatusOr<std::vector<int64_t>> ReadInts(const std::string& name) const;
  // The bytes of any tensor as they are in the file: little-endian.
  absl::StatusOr<std::vector<std::byte>> ReadBytes(const std::string& name) const;

 private:
  SafetensorsReader(File file, SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  absl::StatusOr<const TensorInfo*> Require(const std::string& name) const;

  File file_;
  SafetensorsHeader header_;
};

}  // namespace mlpserve
