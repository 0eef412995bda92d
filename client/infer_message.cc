#include "client/infer_message.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "proto/open_inference.pb.h"

namespace mlpserve::client {
namespace {

// What the small fields of a message may take, so that the whole stays below protobuf's 2 GiB.
constexpr int64_t kSmallFieldBytes = 1 << 20;
constexpr int64_t kMaxTensorBytes = std::numeric_limits<int32_t>::max() - kSmallFieldBytes;

absl::Status CheckBytes(ElementType type, std::span<const int64_t> shape, size_t found) {
  MLPSERVE_ASSIGN_OR_RETURN(const int64_t expected, ByteCount(type, shape));
  if (static_cast<uint64_t>(expected) == found) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, " bytes of ", Describe(type, shape), ", found ", found));
}

absl::StatusOr<OutputTensor> TakeOutput(
    const inference::ModelInferResponse::InferOutputTensor& described, std::string& bytes) {
  const auto error = [&](std::string_view what) {
    return absl::InternalError(
        absl::StrCat("the answer's output '", described.name(), "': ", std::string(what)));
  };
  const std::optional<ElementType> type = ParseElementType(described.datatype());
  if (!type) return error(absl::StrCat("unknown datatype ", described.datatype()));
  OutputTensor output{described.name(), {*type, {}, {}}};
  output.tensor.shape.assign(described.shape().begin(), described.shape().end());
  const absl::Status checked = CheckBytes(*type, output.tensor.shape, bytes.size());
  if (!checked.ok()) return error(std::string(checked.message()));
  output.tensor.bytes = std::move(bytes);
  return output;
}

}  // namespace

absl::Status ToMessage(const InferQuery& query, inference::ModelInferRequest& message) {
  message.set_model_name(query.model);
  message.set_model_version(query.version);
  message.set_id(query.id);
  auto& parameters = *message.mutable_parameters();
  if (query.priority != 0) parameters["priority"].set_int64_param(query.priority);
  if (query.queue_timeout.count() != 0) {
    parameters["timeout"].set_int64_param(query.queue_timeout.count());
  }
  int64_t room = kMaxTensorBytes;
  for (const InputTensor& input : query.inputs) {
    const absl::Status checked = CheckBytes(input.type, input.shape, input.bytes.size());
    const std::string named = absl::StrCat("input '", std::string(input.name), "': ");
    if (!checked.ok()) return absl::Status(checked.code(), absl::StrCat(named, checked.message()));
    if (static_cast<int64_t>(input.bytes.size()) > room) {
      return absl::InvalidArgumentError(absl::StrCat(named, "expected at most ", kMaxTensorBytes,
                                                     " bytes of inputs in a call, found more"));
    }
    room -= static_cast<int64_t>(input.bytes.size());
    auto& described = *message.add_inputs();
    described.set_name(std::string(input.name));
    described.set_datatype(std::string(Name(input.type)));
    described.mutable_shape()->Add(input.shape.begin(), input.shape.end());
    message.add_raw_input_contents(input.bytes.data(), input.bytes.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<InferResult> FromMessage(inference::ModelInferResponse& message) {
  if (message.outputs_size() != message.raw_output_contents_size()) {
    return absl::InternalError(absl::StrCat("the answer describes ", message.outputs_size(),
                                            " outputs: expected as many raw ones, found ",
                                            message.raw_output_contents_size()));
  }
  InferResult result{message.model_name(), message.model_version(), message.id(), {}};
  for (int i = 0; i < message.outputs_size(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(
        OutputTensor output,
        TakeOutput(message.outputs(i), *message.mutable_raw_output_contents(i)));
    result.outputs.push_back(std::move(output));
  }
  return result;
}

}  // namespace mlpserve::client
