// The header of a safetensors file: which tensors it holds, and where.
//
// A file is 8 bytes of header length (little-endian), the header (UTF-8 JSON that begins with `{`
// and may be padded with spaces), and the tensors' bytes, which the header's data_offsets count
// from. Nothing else is in the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/safetensors/tensor_type.h"

namespace mlpserve {

inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;        // the format's own limit
inline constexpr size_t kMaxTensorRank = 8;                     // ours, as the next one
inline constexpr uint64_t kMaxTensorBytes = uint64_t{1} << 36;  // 64 GiB

struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // empty: a scalar; a dimension may be 0
  uint64_t begin = 0;          // bytes, from the start of the file
  uint64_t end = 0;

  int64_t elements() const;  // 1 for a scalar
  uint64_t bytes() const { return end - begin; }
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;              // by name
  std::map<std::string, std::string> metadata;  // __metadata__

  const TensorInfo* Find(std::string_view name) const;
};

// "[2, 3]", as in error messages.
std::string ShapeString(std::span<const int64_t> shape);

// Reads the header's length from the first 8 bytes of a file of `file_bytes` bytes.
absl::StatusOr<uint64_t> ParseHeaderLength(std::string_view first_bytes, uint64_t file_bytes,
                                           const std::string& file);

// Parses and checks `json`, the header of a file of `file_bytes` bytes: JSON without duplicate
// keys; every tensor has exactly a known dtype, a shape of at most 8 dimensions and data_offsets
// that fit dtype and shape (products are checked); the offsets cover the rest of the file exactly,
// without overlap or hole; __metadata__ maps strings to strings. `file` is for messages only.
// Errors are INVALID_ARGUMENT, one message for each rule.
absl::StatusOr<SafetensorsHeader> ParseHeader(std::string_view json, uint64_t file_bytes,
                                              const std::string& file);

// Parses and checks the header of a file of which `bytes` is the whole.
absl::StatusOr<SafetensorsHeader> ParseFile(std::string_view bytes, const std::string& file);

}  // namespace mlpserve
