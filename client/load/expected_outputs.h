// Compares answers with the outputs that they should have.
//
// Thread-safe: nothing changes after Read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/tensor/tensor_file.h"
#include "proto/open_inference.pb.h"

namespace mlpserve::load {

class ExpectedOutputs {
 public:
  // Files by output, each [rows, ...] with one row for each row that is sent. `tolerance`: the
  // largest |found - expected| allowed, as a part of the larger of 1 and |expected|.
  // As client::ReadTensor; INVALID_ARGUMENT: not `rows` rows.
  static absl::StatusOr<ExpectedOutputs> Read(
      const std::map<std::string, client::TensorPath>& files, int64_t rows, double tolerance);

  // `answer` is that to the rows from `first_row` on (starting again where they end). DATA_LOSS
  // names output, row, column, expected and found of the first value that differs.
  absl::Status Check(inference::ModelInferResponse answer, int64_t first_row, int64_t rows) const;

 private:
  struct Output {
    std::string name;
    int64_t rows = 0;
    size_t columns = 0;         // values in a row
    std::vector<float> values;  // [rows, columns]
  };

  absl::Status CheckOutput(const Output& output, const std::vector<float>& found, int64_t first_row,
                           int64_t rows) const;

  std::vector<Output> outputs_;
  double tolerance_ = 0;
};

}  // namespace mlpserve::load
