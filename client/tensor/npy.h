// Arrays as numpy.save writes them (NEP 1, https://numpy.org/doc/stable/reference/generated/
// numpy.lib.format.html): versions 1.0 to 3.0, little-endian, in C order, of bool, integers or
// floats. No objects, structures, strings or complex numbers.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/tensor/tensor.h"

namespace mlpserve::client {

// `contents` is a whole file. INVALID_ARGUMENT says what was expected and found. Bytes after the
// array are an error, unlike in numpy.
absl::StatusOr<Tensor> ParseNpy(std::string_view contents);

// A version 1.0 file. BF16, which NumPy does not know, is written as FP32.
// INVALID_ARGUMENT: a header over 64 KiB (thousands of dimensions).
absl::StatusOr<std::string> FormatNpy(const Tensor& tensor);

}  // namespace mlpserve::client
