// Rows of numbers as comma-separated text: one line per row, as many values in each as in the
// first. Spaces and tabs around values, empty lines, CRLF, a byte order mark and one heading line
// (a first line of which no field is a number) are accepted; quotes and other separators are not.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/tensor/tensor.h"

namespace mlpserve::client {

// An FP32 tensor [rows, columns], each value rounded once; nan and inf are numbers, what FP32
// cannot hold is not. INVALID_ARGUMENT names line and column, what was expected and what was found.
absl::StatusOr<Tensor> ParseCsv(std::string_view text);

// The first dimension goes down, the others across; a scalar is one line. Floats are written with
// as many digits as reading them back exactly takes.
std::string FormatCsv(const Tensor& tensor);

}  // namespace mlpserve::client
