// The rows that requests are made of: of a file, or random.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/signature.h"
#include "client/tensor/tensor_file.h"

namespace mlpserve::load {

// A tensor's rows, back to back.
struct Rows {
  int64_t count = 0;
  size_t row_bytes = 0;
  std::string bytes;  // count × row_bytes

  // `rows` of them from row `first` on, starting again at row 0 where they end.
  std::string Take(int64_t first, int64_t rows) const;
};

// Floating point: normal with mean 0 and deviation 1. BOOL: 0 or 1. Integers: 0 to 99.
Rows RandomRows(const InputSpec& input, int64_t count, uint64_t seed);

// The file's tensor, [rows, ...] or one row, in the input's type: as it stands, or rounded where
// both are floating point. INVALID_ARGUMENT: another shape or type, no rows; otherwise as
// client::ReadTensor.
absl::StatusOr<Rows> ReadRows(const client::TensorPath& path, const InputSpec& input);

}  // namespace mlpserve::load
