#include "client/load/request_set.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/infer_message.h"
#include "client/load/row_source.h"
#include "kernels/status/status_macros.h"
#include "proto/open_inference.pb.h"

namespace mlpserve::load {
namespace {

constexpr int64_t kRandomBytes = int64_t{64} << 20;
constexpr int64_t kMostRandomRequests = 64;
constexpr int64_t kMostBytes = int64_t{2} << 30;

absl::Status CheckOptions(const RequestOptions& options, int64_t rows) {
  for (const InputSpec& input : options.inputs) {
    if (!input.has_rows && rows != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("input '", input.name, "' of ", client::Describe(input.type, input.shape),
                       " has no dimension for rows: expected 1 row a request, found ", rows));
    }
  }
  for (const auto& [input_name, path] : options.files) {
    const std::string& name = input_name;
    if (std::none_of(options.inputs.begin(), options.inputs.end(),
                     [&](const InputSpec& input) { return input.name == name; })) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.file, ": model '", options.model, "' has no input '", name, "'"));
    }
  }
  return absl::OkStatus();
}

// The files' rows by input; INVALID_ARGUMENT where they are not equally many.
absl::StatusOr<std::map<std::string, Rows>> ReadFiles(const RequestOptions& options) {
  std::map<std::string, Rows> read;
  for (const InputSpec& input : options.inputs) {
    const auto file = options.files.find(input.name);
    if (file == options.files.end()) continue;
    MLPSERVE_ASSIGN_OR_RETURN(Rows rows, ReadRows(file->second, input));
    if (!read.empty() && read.begin()->second.count != rows.count) {
      return absl::InvalidArgumentError(absl::StrCat(
          file->second.file, ": expected ", read.begin()->second.count,
          " rows, as many as for input '", read.begin()->first, "', found ", rows.count));
    }
    read.emplace(input.name, std::move(rows));
  }
  return read;
}

int64_t RowBytes(const std::vector<InputSpec>& inputs) {
  int64_t bytes = 0;
  for (const InputSpec& input : inputs) {
    const absl::StatusOr<int64_t> size = client::ByteCount(input.type, input.shape);
    bytes += size.ok() ? std::min(*size, kMostBytes) : kMostBytes;
  }
  return std::max<int64_t>(1, bytes);
}

absl::Status Fill(const RequestOptions& options, int64_t rows,
                  const std::vector<std::string>& bytes, inference::ModelInferRequest& message) {
  client::InferQuery query{.model = options.model,
                           .version = options.version,
                           .priority = options.priority,
                           .queue_timeout = options.queue_timeout};
  std::vector<std::vector<int64_t>> shapes;
  for (const InputSpec& input : options.inputs) shapes.push_back(ShapeOf(input, rows));
  for (size_t i = 0; i < bytes.size(); ++i) {
    const InputSpec& input = options.inputs[i];
    query.inputs.push_back(
        {input.name, input.type, shapes[i], std::as_bytes(std::span<const char>(bytes[i]))});
  }
  return client::ToMessage(query, message);
}

// Says that the tensor lies in the shared memory.
template <typename Tensor>
void SetShared(const SharedRows& shared, int64_t offset, int64_t bytes, Tensor& tensor) {
  auto& parameters = *tensor.mutable_parameters();
  parameters["shared_memory_region"].set_string_param(shared.key());
  parameters["shared_memory_byte_size"].set_int64_param(bytes);
  if (offset != 0) parameters["shared_memory_offset"].set_int64_param(offset);
}

}  // namespace

absl::Status RequestSet::MakeShared(const RequestOptions& options, int64_t count) {
  const auto add = [&](const std::vector<InputSpec>& tensors, std::vector<Place>& places) {
    for (const InputSpec& tensor : tensors) {
      const absl::StatusOr<int64_t> bytes = client::ByteCount(tensor.type, ShapeOf(tensor, rows_));
      MLPSERVE_RETURN_IF_ERROR(bytes.status());
      places.push_back({tensor.name, part_bytes_, *bytes});
      part_bytes_ += *bytes;
    }
    return absl::OkStatus();
  };
  MLPSERVE_RETURN_IF_ERROR(add(options.inputs, shared_inputs_));
  MLPSERVE_RETURN_IF_ERROR(add(options.shared_outputs, shared_outputs_));
  MLPSERVE_ASSIGN_OR_RETURN(shared_, SharedRows::Create(count * part_bytes_));
  return absl::OkStatus();
}

absl::Status RequestSet::Share(size_t index, const std::vector<std::string>& bytes,
                               inference::ModelInferRequest& message) {
  message.clear_raw_input_contents();
  for (size_t i = 0; i < shared_inputs_.size(); ++i) {
    const Place& place = shared_inputs_[i];
    const int64_t offset = PartOf(index) + place.offset;
    MLPSERVE_RETURN_IF_ERROR(shared_->Write(offset, bytes[i]));
    SetShared(*shared_, offset, place.bytes, *message.mutable_inputs(static_cast<int>(i)));
  }
  for (const Place& place : shared_outputs_) {
    auto& output = *message.add_outputs();
    output.set_name(place.name);
    SetShared(*shared_, PartOf(index) + place.offset, place.bytes, output);
  }
  return absl::OkStatus();
}

absl::Status RequestSet::TakeOutputs(size_t index, inference::ModelInferResponse& answer) const {
  for (int i = 0; i < answer.outputs_size(); ++i) {
    if (answer.outputs(i).parameters().count("shared_memory_region") == 0) continue;
    const auto place =
        std::find_if(shared_outputs_.begin(), shared_outputs_.end(),
                     [&](const Place& known) { return known.name == answer.outputs(i).name(); });
    if (place == shared_outputs_.end()) {
      return absl::DataLossError(absl::StrCat("expected output '", answer.outputs(i).name(),
                                              "' in the answer, found it in shared memory"));
    }
    while (answer.raw_output_contents_size() <= i) answer.add_raw_output_contents();
    MLPSERVE_ASSIGN_OR_RETURN(*answer.mutable_raw_output_contents(i),
                              shared_->Read(PartOf(index) + place->offset, place->bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<RequestSet> RequestSet::Make(const RequestOptions& options, int64_t rows) {
  MLPSERVE_RETURN_IF_ERROR(CheckOptions(options, rows));
  MLPSERVE_ASSIGN_OR_RETURN(auto sources, ReadFiles(options));

  RequestSet set;
  set.rows_ = rows;
  set.file_rows_ = sources.empty() ? 0 : sources.begin()->second.count;
  const int64_t row_bytes = RowBytes(options.inputs) +
                            (options.shared_outputs.empty() ? 0 : RowBytes(options.shared_outputs));
  const int64_t request_bytes = rows > kMostBytes / row_bytes ? kMostBytes + 1 : rows * row_bytes;
  const int64_t count = set.file_rows_ > 0 ? (set.file_rows_ + rows - 1) / rows
                                           : std::clamp<int64_t>(kRandomBytes / request_bytes, 1,
                                                                 kMostRandomRequests);
  if (request_bytes > kMostBytes / count) {
    return absl::InvalidArgumentError(absl::StrCat("expected at most 2 GiB of requests, found ",
                                                   count, " of ", request_bytes,
                                                   " bytes: give fewer rows"));
  }
  for (size_t i = 0; i < options.inputs.size(); ++i) {
    const InputSpec& input = options.inputs[i];
    if (sources.count(input.name) == 0) {
      sources.emplace(input.name, RandomRows(input, count * rows, options.seed + i));
    }
  }
  if (!options.shared_outputs.empty()) {
    MLPSERVE_RETURN_IF_ERROR(set.MakeShared(options, count));
  }
  for (int64_t i = 0; i < count; ++i) {
    std::vector<std::string> bytes;
    for (const InputSpec& input : options.inputs) {
      bytes.push_back(sources.at(input.name).Take(i * rows, rows));
    }
    inference::ModelInferRequest message;
    MLPSERVE_RETURN_IF_ERROR(Fill(options, rows, bytes, message));
    if (set.shared_ != nullptr) {
      MLPSERVE_RETURN_IF_ERROR(set.Share(static_cast<size_t>(i), bytes, message));
    }
    const grpc::Slice slice(message.SerializeAsString());
    set.message_bytes_ += static_cast<int64_t>(slice.size());
    set.messages_.emplace_back(&slice, 1);
  }
  set.message_bytes_ /= count;
  return set;
}

}  // namespace mlpserve::load
