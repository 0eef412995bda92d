// Writes a safetensors file that reader.h and every other reader of the format reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/safetensors/tensor_type.h"

namespace mlpserve {

struct TensorToWrite {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // little-endian, row-major; borrowed
};

// Writes the tensors in the order given, after a header padded to a multiple of 8 bytes. A file
// that exists is replaced only when all is written (temporary file beside it, fsync, rename).
// Errors: INVALID_ARGUMENT, a name twice or not UTF-8, or data of another size than type and shape
// say; UNAVAILABLE, writing failed. Messages name the file, and the tensor.
absl::Status WriteSafetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace mlpserve
