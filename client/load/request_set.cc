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

absl::StatusOr<grpc::ByteBuffer> Serialise(const RequestOptions& options, int64_t rows,
                                           const std::vector<std::string>& bytes) {
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
  inference::ModelInferRequest message;
  MLPSERVE_RETURN_IF_ERROR(client::ToMessage(query, message));
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace

absl::StatusOr<RequestSet> RequestSet::Make(const RequestOptions& options, int64_t rows) {
  MLPSERVE_RETURN_IF_ERROR(CheckOptions(options, rows));
  MLPSERVE_ASSIGN_OR_RETURN(auto sources, ReadFiles(options));

  RequestSet set;
  set.rows_ = rows;
  set.file_rows_ = sources.empty() ? 0 : sources.begin()->second.count;
  const int64_t request_bytes =
      rows > kMostBytes ? kMostBytes + 1 : rows * RowBytes(options.inputs);
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
  for (int64_t i = 0; i < count; ++i) {
    std::vector<std::string> bytes;
    for (const InputSpec& input : options.inputs) {
      bytes.push_back(sources.at(input.name).Take(i * rows, rows));
    }
    MLPSERVE_ASSIGN_OR_RETURN(grpc::ByteBuffer message, Serialise(options, rows, bytes));
    set.message_bytes_ += static_cast<int64_t>(message.Length());
    set.messages_.push_back(std::move(message));
  }
  set.message_bytes_ /= count;
  return set;
}

}  // namespace mlpserve::load
