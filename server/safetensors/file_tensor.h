// A tensor whose numbers stay in their file until they are read.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/spec/tensor.h"
#include "server/safetensors/reader.h"

namespace mlpserve {

// The F64, F32, F16 or BF16 tensor `name` in the type that the file has it in, but for F64, which
// is rounded to FP32 as it is read (SafetensorsReader::ReadFloats). Keeps the file open: what
// replaces it at its path meanwhile is not seen, and one that is shortened gives UNAVAILABLE.
// Errors: NOT_FOUND, no such tensor; INVALID_ARGUMENT, of another type.
absl::StatusOr<Tensor> FileTensor(std::shared_ptr<const SafetensorsReader> file,
                                  const std::string& name);

}  // namespace mlpserve
