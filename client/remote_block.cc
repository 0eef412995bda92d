#include "client/remote_block.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::client {
namespace {

bool IsFloatOnWire(std::optional<ElementType> type) {
  return type == ElementType::kFp32 || type == ElementType::kFp16 || type == ElementType::kBf16;
}

// Whether `tensors` is one float tensor [-1, features].
bool IsRows(const std::vector<TensorMetadata>& tensors) {
  return tensors.size() == 1 && IsFloatOnWire(ParseElementType(tensors[0].datatype)) &&
         tensors[0].shape.size() == 2 && tensors[0].shape[0] < 0 && tensors[0].shape[1] > 0;
}

}  // namespace

absl::StatusOr<RemoteBlock> RemoteBlock::Open(Client& client, const std::string& name,
                                              const std::string& version, Deadline deadline) {
  MLPSERVE_ASSIGN_OR_RETURN(const BlockMetadata metadata, client.Describe(name, version, deadline));
  if (!IsRows(metadata.inputs) || !IsRows(metadata.outputs)) {
    return absl::FailedPreconditionError(
        absl::StrCat("block '", name,
                     "': expected one input and one output [-1, features] of FP32, FP16 or BF16, "
                     "found ",
                     Describe(metadata.inputs), " and ", Describe(metadata.outputs)));
  }
  MLPSERVE_ASSIGN_OR_RETURN(const int64_t max_rows, client.MaxRows(name, version, deadline));

  const TensorMetadata& input = metadata.inputs[0];
  const TensorMetadata& output = metadata.outputs[0];
  RemoteBlock block;
  block.client_ = &client;
  block.name_ = name;
  block.version_ = version;
  block.input_name_ = input.name;
  block.output_name_ = output.name;
  block.input_type_ = *ParseElementType(input.datatype);
  block.output_type_ = *ParseElementType(output.datatype);
  block.input_features_ = input.shape[1];
  block.output_features_ = output.shape[1];
  block.max_rows_ = std::max<int64_t>(1, max_rows);
  return block;
}

absl::Status RemoteBlock::CheckRows(std::span<const float> rows) const {
  if (!rows.empty() && rows.size() % static_cast<size_t>(input_features_) == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("input '", input_name_, "' of block '", name_,
                                                 "': expected whole rows of ", input_features_,
                                                 " values, found ", rows.size(), " values"));
}

// Calls send(query) with the query that carries `rows`.
template <class Send>
void RemoteBlock::WithQuery(std::span<const float> rows, Send send) const {
  const int64_t shape[] = {static_cast<int64_t>(rows.size()) / input_features_, input_features_};
  Tensor rounded;
  std::span<const std::byte> bytes = std::as_bytes(rows);
  if (input_type_ != ElementType::kFp32) {
    rounded = FromFloats(rows, {}, input_type_);
    bytes = std::as_bytes(std::span(rounded.bytes.data(), rounded.bytes.size()));
  }
  InferQuery query;
  query.model = name_;
  query.version = version_;
  query.inputs.push_back({input_name_, input_type_, shape, bytes});
  send(query);
}

absl::StatusOr<std::vector<float>> RemoteBlock::OutputOf(const InferResult& result,
                                                         int64_t rows) const {
  if (result.outputs.size() != 1) {
    return absl::InternalError(
        absl::StrCat("block '", name_, "': expected one output, found ", result.outputs.size()));
  }
  const auto& [name, tensor] = result.outputs[0];
  const std::vector<int64_t> expected = {rows, output_features_};
  if (tensor.shape != expected || !IsFloatOnWire(tensor.type)) {
    return absl::InternalError(absl::StrCat("block '", name_, "', output '", name, "': expected ",
                                            client::Describe(output_type_, expected), ", found ",
                                            client::Describe(tensor)));
  }
  return ToFloats(tensor);
}

absl::StatusOr<std::vector<float>> RemoteBlock::Infer(std::span<const float> rows,
                                                      Deadline deadline) const {
  MLPSERVE_RETURN_IF_ERROR(CheckRows(rows));
  absl::StatusOr<InferResult> result;
  WithQuery(rows, [&](const InferQuery& query) { result = client_->Infer(query, deadline); });
  MLPSERVE_RETURN_IF_ERROR(result.status());
  return OutputOf(*result, static_cast<int64_t>(rows.size()) / input_features_);
}

void RemoteBlock::InferAsync(std::span<const float> rows, Deadline deadline, Done done) const {
  if (absl::Status status = CheckRows(rows); !status.ok()) {
    std::move(done)(status);
    return;
  }
  const int64_t count = static_cast<int64_t>(rows.size()) / input_features_;
  WithQuery(rows, [&](const InferQuery& query) {
    client_->InferAsync(
        query, deadline,
        [block = *this, count, done = std::move(done)](absl::StatusOr<InferResult> result) mutable {
          if (!result.ok()) {
            std::move(done)(result.status());
          } else {
            std::move(done)(block.OutputOf(*result, count));
          }
        });
  });
}

}  // namespace mlpserve::client
