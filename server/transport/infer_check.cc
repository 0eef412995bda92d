#include "server/transport/infer_check.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

// Of a response, which must stay below protobuf's 2 GiB with its small fields.
constexpr int64_t kMaxOutputBytes = (int64_t{1} << 31) - (int64_t{1} << 20);

std::string ShapeOf(const InferTensor& tensor) {
  std::string shape = "[";
  const uint64_t shown = std::min<uint64_t>(tensor.rank, InferTensor::kKeptDims);
  for (uint64_t i = 0; i < shown; ++i) absl::StrAppend(&shape, i == 0 ? "" : ", ", tensor.shape[i]);
  if (shown < tensor.rank) absl::StrAppend(&shape, ", ...");
  return shape + "]";
}

template <typename... Parts>
absl::Status Wrong(const BlockConfig& block, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("block \"", block.name, "\": ", parts...));
}

absl::Status CheckParameters(const BlockConfig& block, std::string_view kind,
                             const InferTensor& tensor) {
  if (tensor.refused_parameter.empty()) return absl::OkStatus();
  return Wrong(block, std::string(kind), " ", QuotedShort(tensor.name), ": parameter ",
               QuotedShort(tensor.refused_parameter),
               " found, but tensors are sent and answered as their values");
}

absl::Status CheckInputTensor(const InferMessage& message, const BlockConfig& block) {
  const TensorConfig& expected = block.input;
  const InferTensor& found = message.input;
  if (message.inputs != 1) {
    return Wrong(block, "expected 1 input, \"", expected.name, "\", found ", message.inputs);
  }
  if (found.name != expected.name) {
    return Wrong(block, "expected input \"", expected.name, "\", found ", QuotedShort(found.name));
  }
  if (found.datatype != Name(expected.datatype)) {
    return Wrong(block, "input \"", expected.name, "\": expected datatype ",
                 std::string(Name(expected.datatype)), ", found ", QuotedShort(found.datatype));
  }
  return CheckParameters(block, "input", found);
}

absl::Status CheckRows(const InferTensor& input, const BlockConfig& block) {
  const BatchingOptions& batching = block.batching;
  if (input.rank != 2 || input.shape[1] != block.input.features || input.shape[0] < 1) {
    return Wrong(block, "input \"", block.input.name, "\": expected shape [rows, ",
                 block.input.features, "] with 1 row or more, found ", ShapeOf(input));
  }
  const int64_t rows = input.shape[0];
  if (UsesBatchStatistics(block) && (rows < 2 || rows > batching.max_rows)) {
    return Wrong(block, "input \"", block.input.name, "\": expected 2 to ", batching.max_rows,
                 " rows (max_rows), over which the block computes its statistics, found ", rows);
  }
  const int64_t limit =
      std::min(batching.max_queued_rows, batching.max_queued_bytes / block.input.row_bytes());
  if (rows > limit) {
    return Wrong(block, "input \"", block.input.name, "\": expected at most ", limit,
                 " rows (max_queued_rows, max_queued_bytes), found ", rows);
  }
  if (rows > kMaxOutputBytes / block.output.row_bytes()) {
    return Wrong(block, "output \"", block.output.name, "\": expected at most ",
                 kMaxOutputBytes / block.output.row_bytes(),
                 " rows, as a message holds 2 GiB, found ", rows);
  }
  return absl::OkStatus();
}

absl::Status CheckRawInput(const InferMessage& message, const BlockConfig& block) {
  const std::string& name = block.input.name;
  if (message.input.has_contents) {
    return Wrong(block, "input \"", name,
                 "\": expected either contents or raw_input_contents, found both");
  }
  if (message.raw_inputs != 1) {
    return Wrong(block, "expected 1 entry of raw_input_contents, for input \"", name, "\", found ",
                 message.raw_inputs);
  }
  const auto rows = static_cast<uint64_t>(message.input.shape[0]);
  const uint64_t bytes = rows * static_cast<uint64_t>(block.input.row_bytes());
  if (message.raw_input_bytes != bytes) {
    return Wrong(block, "input \"", name, "\": expected ", bytes, " bytes for shape ",
                 ShapeOf(message.input), ", found ", message.raw_input_bytes);
  }
  return absl::OkStatus();
}

absl::Status CheckTypedInput(const InferMessage& message, const BlockConfig& block) {
  const std::string& name = block.input.name;
  if (block.input.datatype != DataType::kFp32) {
    return Wrong(block, "input \"", name, "\": expected raw_input_contents, as datatype ",
                 std::string(Name(block.input.datatype)), " has no typed contents, found ",
                 message.input.has_contents ? "contents" : "none");
  }
  if (!message.input.other_contents.empty()) {
    return Wrong(block, "input \"", name, "\": expected fp32_contents, found ",
                 std::string(message.input.other_contents));
  }
  if (!message.input.has_contents) {
    return Wrong(block, "input \"", name,
                 "\": expected raw_input_contents or fp32_contents for shape ",
                 ShapeOf(message.input), ", found neither");
  }
  const auto rows = static_cast<uint64_t>(message.input.shape[0]);
  const uint64_t values = rows * static_cast<uint64_t>(block.input.features);
  const uint64_t found = message.typed_input.size() / sizeof(float);
  if (found != values) {
    return Wrong(block, "input \"", name, "\": expected ", values, " values for shape ",
                 ShapeOf(message.input), ", found ", found);
  }
  return absl::OkStatus();
}

absl::Status CheckOutputs(const InferMessage& message, const BlockConfig& block) {
  if (message.outputs == 0) return absl::OkStatus();
  if (message.output.name != block.output.name) {
    return Wrong(block, "expected output \"", block.output.name, "\", found ",
                 QuotedShort(message.output.name));
  }
  if (message.outputs > 1) {
    return Wrong(block, "expected at most 1 output, \"", block.output.name, "\", found ",
                 message.outputs);
  }
  return CheckParameters(block, "output", message.output);
}

// A parameter of a tensor in shared memory that counts bytes.
absl::StatusOr<uint64_t> ByteCountOf(const BlockConfig& block, const std::string& tensor,
                                     std::string_view parameter, const ParameterValue& value) {
  using Kind = ParameterValue::Kind;
  const auto wrong = [&](const auto& expected, const auto& found) {
    return Wrong(block, tensor, ": parameter \"", std::string(parameter), "\": expected ", expected,
                 ", found ", found);
  };
  if (value.kind != Kind::kInt64 && value.kind != Kind::kUint64) {
    return wrong("int64", std::string(Name(value.kind)));
  }
  if (value.kind == Kind::kInt64 && static_cast<int64_t>(value.bits) < 0) {
    return wrong("0 or more", static_cast<int64_t>(value.bits));
  }
  return value.bits;
}

// `tensor` names it for errors: input "x".
absl::StatusOr<SharedTensor> SharedTensorOf(const SharedMemoryParameters& parameters,
                                            const std::string& tensor, const BlockConfig& block) {
  using Kind = ParameterValue::Kind;
  const ParameterValue& region = parameters.region;
  if (region.kind != Kind::kString || region.text.empty()) {
    return Wrong(block, tensor, ": parameter \"shared_memory_region\": expected a name, found ",
                 region.kind == Kind::kString ? "an empty one" : std::string(Name(region.kind)));
  }
  SharedTensor shared{.region = region.text};
  MLPSERVE_ASSIGN_OR_RETURN(
      shared.bytes, ByteCountOf(block, tensor, "shared_memory_byte_size", parameters.byte_size));
  if (parameters.offset.kind != Kind::kAbsent) {
    MLPSERVE_ASSIGN_OR_RETURN(
        shared.offset, ByteCountOf(block, tensor, "shared_memory_offset", parameters.offset));
  }
  return shared;
}

absl::StatusOr<SharedTensor> SharedInputOf(const InferMessage& message, const BlockConfig& block) {
  if (!message.input.shared_memory.any()) return SharedTensor{};
  const std::string tensor = absl::StrCat("input \"", block.input.name, "\"");
  MLPSERVE_ASSIGN_OR_RETURN(const auto shared,
                            SharedTensorOf(message.input.shared_memory, tensor, block));
  if (message.input.has_contents || message.raw_inputs > 0) {
    return Wrong(block, tensor, ": expected no values beside shared memory, found ",
                 message.input.has_contents ? "contents" : "raw_input_contents");
  }
  const uint64_t bytes = static_cast<uint64_t>(message.input.shape[0]) *
                         static_cast<uint64_t>(block.input.row_bytes());
  if (shared.bytes == bytes) return shared;
  return Wrong(block, tensor, ": parameter \"shared_memory_byte_size\": expected ", bytes,
               " bytes for shape ", ShapeOf(message.input), ", found ", shared.bytes);
}

absl::StatusOr<SharedTensor> SharedOutputOf(const InferMessage& message, const BlockConfig& block) {
  if (!message.output.shared_memory.any()) return SharedTensor{};
  const std::string tensor = absl::StrCat("output \"", block.output.name, "\"");
  MLPSERVE_ASSIGN_OR_RETURN(const auto shared,
                            SharedTensorOf(message.output.shared_memory, tensor, block));
  const int64_t rows = message.input.shape[0];
  const uint64_t bytes =
      static_cast<uint64_t>(rows) * static_cast<uint64_t>(block.output.row_bytes());
  if (shared.bytes >= bytes) return shared;
  return Wrong(block, tensor, ": parameter \"shared_memory_byte_size\": expected at least ", bytes,
               " bytes for shape [", rows, ", ", block.output.features, "], found ", shared.bytes);
}

absl::StatusOr<int> PriorityOf(const ParameterValue& priority, const BlockConfig& block) {
  using Kind = ParameterValue::Kind;
  if (priority.kind == Kind::kAbsent) return 0;
  if (priority.kind != Kind::kInt64 && priority.kind != Kind::kUint64) {
    return Wrong(block, "parameter \"priority\": expected int64 or uint64, found ",
                 std::string(Name(priority.kind)));
  }
  const int levels = block.batching.priority_levels;
  if (priority.kind == Kind::kInt64 && static_cast<int64_t>(priority.bits) < 0) {
    return Wrong(block, "parameter \"priority\": expected 0 or more, found ",
                 static_cast<int64_t>(priority.bits));
  }
  if (levels == 0) return 0;  // all requests alike, whatever they ask for
  if (priority.bits > static_cast<uint64_t>(levels)) {
    return Wrong(block, "parameter \"priority\": expected 0 to ", levels,
                 " (priority_levels), found ", priority.bits);
  }
  return static_cast<int>(priority.bits);
}

absl::StatusOr<Duration> QueueTimeoutOf(const ParameterValue& timeout, const BlockConfig& block) {
  using Kind = ParameterValue::Kind;
  constexpr int64_t kLongestUs = std::chrono::microseconds(std::chrono::hours(24 * 365)).count();
  if (timeout.kind == Kind::kAbsent) return Duration::zero();
  if (timeout.kind != Kind::kInt64) {
    return Wrong(block, "parameter \"timeout\": expected int64 (microseconds), found ",
                 std::string(Name(timeout.kind)));
  }
  const auto us = static_cast<int64_t>(timeout.bits);
  if (us < 0) return Wrong(block, "parameter \"timeout\": expected 0 or more, found ", us);
  return std::chrono::microseconds(std::min(us, kLongestUs));
}

}  // namespace

absl::StatusOr<InferTerms> CheckInfer(const InferMessage& message, const BlockConfig& block) {
  const bool raw = message.raw_inputs > 0;
  MLPSERVE_RETURN_IF_ERROR(CheckInputTensor(message, block));
  MLPSERVE_RETURN_IF_ERROR(CheckRows(message.input, block));
  MLPSERVE_ASSIGN_OR_RETURN(const auto shared_input, SharedInputOf(message, block));
  const bool shared = shared_input.is_shared();
  if (!shared) {
    MLPSERVE_RETURN_IF_ERROR(raw ? CheckRawInput(message, block) : CheckTypedInput(message, block));
  }
  MLPSERVE_RETURN_IF_ERROR(CheckOutputs(message, block));
  MLPSERVE_ASSIGN_OR_RETURN(const auto shared_output, SharedOutputOf(message, block));
  if (!message.refused_parameter.empty()) {
    return Wrong(block, "parameter ", QuotedShort(message.refused_parameter),
                 " is not supported: blocks keep no state and offer none of Triton's own "
                 "extensions");
  }
  MLPSERVE_ASSIGN_OR_RETURN(const auto priority, PriorityOf(message.priority, block));
  MLPSERVE_ASSIGN_OR_RETURN(const auto timeout, QueueTimeoutOf(message.timeout, block));
  return InferTerms{.rows = message.input.shape[0],
                    .input = shared ? std::span<const Bytes>()
                             : raw  ? std::span<const Bytes>(message.raw_input)
                                    : std::span<const Bytes>(&message.typed_input, 1),
                    .shared_input = shared_input,
                    .shared_output = shared_output,
                    .priority = priority,
                    .queue_timeout = timeout};
}

}  // namespace mlpserve
