#include "client/load/expected_outputs.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "client/infer_message.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::load {
namespace {

bool IsClose(float found, float expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(found);
  if (std::isinf(expected)) return found == expected;
  return std::abs(double{found} - double{expected}) <=
         tolerance * std::max(1.0, std::abs(double{expected}));
}

}  // namespace

absl::StatusOr<ExpectedOutputs> ExpectedOutputs::Read(
    const std::map<std::string, client::TensorPath>& files, int64_t rows, double tolerance) {
  ExpectedOutputs expected;
  expected.tolerance_ = tolerance;
  for (const auto& [name, path] : files) {
    MLPSERVE_ASSIGN_OR_RETURN(const client::Tensor tensor, client::ReadTensor(path, name));
    if (tensor.shape.empty() || tensor.shape[0] != rows) {
      return absl::InvalidArgumentError(absl::StrCat(path.file, ": expected ", rows,
                                                     " rows of output '", name, "', found ",
                                                     client::Describe(tensor)));
    }
    Output output{name, rows, 0, client::ToFloats(tensor)};
    output.columns = output.values.size() / static_cast<size_t>(rows);
    expected.outputs_.push_back(std::move(output));
  }
  return expected;
}

absl::Status ExpectedOutputs::Check(inference::ModelInferResponse answer, int64_t first_row,
                                    int64_t rows) const {
  const absl::StatusOr<client::InferResult> result = client::FromMessage(answer);
  if (!result.ok()) return absl::DataLossError(result.status().message());
  for (const Output& output : outputs_) {
    const auto found = std::find_if(
        result->outputs.begin(), result->outputs.end(),
        [&](const client::OutputTensor& tensor) { return tensor.name == output.name; });
    if (found == result->outputs.end()) {
      return absl::DataLossError(absl::StrCat("expected output '", output.name, "', found none"));
    }
    MLPSERVE_RETURN_IF_ERROR(CheckOutput(output, client::ToFloats(found->tensor), first_row, rows));
  }
  return absl::OkStatus();
}

absl::Status ExpectedOutputs::CheckOutput(const Output& output, const std::vector<float>& found,
                                          int64_t first_row, int64_t rows) const {
  if (found.size() != output.columns * static_cast<size_t>(rows)) {
    return absl::DataLossError(absl::StrCat("output '", output.name, "': expected ", rows,
                                            " rows of ", output.columns, " values, found ",
                                            found.size(), " values"));
  }
  for (size_t i = 0; i < found.size(); ++i) {
    const int64_t row = (first_row + static_cast<int64_t>(i / output.columns)) % output.rows;
    const size_t column = i % output.columns;
    const float expected = output.values[static_cast<size_t>(row) * output.columns + column];
    if (IsClose(found[i], expected, tolerance_)) continue;
    return absl::DataLossError(absl::StrCat("output '", output.name, "', row ", row, ", column ",
                                            column, ": expected ", expected, ", found ", found[i]));
  }
  return absl::OkStatus();
}

}  // namespace mlpserve::load
