// What a model takes and gives: as its server says, or as the user does where the server is silent.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"

namespace mlpserve::load {

struct InputSpec {
  std::string name;
  client::ElementType type = client::ElementType::kFp32;
  std::vector<int64_t> shape;  // of one row where has_rows, else of the whole tensor
  bool has_rows = true;        // the tensor begins with the dimension of rows
};

// "x:FP32:64", "image:UINT8:3,224,224"; "x:FP32:" is one value a row. INVALID_ARGUMENT: another
// form, a datatype that is not of fixed size.
absl::StatusOr<InputSpec> ParseInputSpec(std::string_view text);

// The shape of the tensor with this many rows.
std::vector<int64_t> ShapeOf(const InputSpec& input, int64_t rows);

// From the server's metadata. FAILED_PRECONDITION: none, a free dimension that is not the first
// one, or a datatype of unknown size, with what to give instead.
absl::StatusOr<std::vector<InputSpec>> InputsOf(const client::BlockMetadata& metadata);
// What holds for the outputs, in the same form.
absl::StatusOr<std::vector<InputSpec>> OutputsOf(const client::BlockMetadata& metadata);

}  // namespace mlpserve::load
