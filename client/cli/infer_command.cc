#include "client/cli/infer_command.h"

#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/progress.h"
#include "client/infer_all.h"
#include "client/remote_block.h"
#include "client/tensor/classes.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::client {
namespace {

using Clock = std::chrono::steady_clock;

std::string Shown(const TensorPath& path) {
  return path.tensor.empty() ? path.file : absl::StrCat(path.file, ":", path.tensor);
}

// The input file's rows for the block: [rows, features], or [features] as one row.
absl::StatusOr<std::vector<float>> ReadRows(const TensorPath& path, const RemoteBlock& block) {
  MLPSERVE_ASSIGN_OR_RETURN(const Tensor tensor, ReadTensor(path, block.input_name()));
  const size_t rank = tensor.shape.size();
  if (rank < 1 || rank > 2 || tensor.shape.back() != block.input_features() ||
      tensor.bytes.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(path), ": expected [rows, ", block.input_features(), "] for input '",
        block.input_name(), "' of block '", block.name(), "', found ", Describe(tensor)));
  }
  return ToFloats(tensor);
}

// The classes of the label file; none where no labels are asked for.
absl::StatusOr<std::vector<int64_t>> ReadLabels(const TensorPath& path, int64_t rows) {
  if (path.file.empty()) return std::vector<int64_t>();
  MLPSERVE_ASSIGN_OR_RETURN(const Tensor tensor, ReadTensor(path, "label"));
  absl::StatusOr<std::vector<int64_t>> classes = ClassesOf(tensor);
  if (!classes.ok()) {
    return absl::Status(classes.status().code(),
                        absl::StrCat(Shown(path), ": ", classes.status().message()));
  }
  if (static_cast<int64_t>(classes->size()) != rows) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(path), ": expected ", rows, " labels, one for each row, found ", classes->size()));
  }
  return classes;
}

absl::StatusOr<std::vector<float>> RunRows(const InferCommand& command, const RemoteBlock& block,
                                           std::span<const float> rows,
                                           std::chrono::milliseconds deadline,
                                           const Streams& streams) {
  const auto count = static_cast<int64_t>(rows.size()) / block.input_features();
  Progress progress(absl::StrCat("rows through ", block.name()), count, streams.err_is_terminal,
                    Clock::now());
  InferAllOptions options{.rows_per_request = command.rows_per_request,
                          .in_flight = command.concurrency,
                          .deadline = deadline,
                          .on_progress = [&](int64_t done) {
                            streams.err << progress.Update(done, Clock::now()) << std::flush;
                          }};
  absl::StatusOr<std::vector<float>> results = InferAll(block, rows, options);
  streams.err << progress.Clear() << std::flush;
  return results;
}

void PrintAccuracy(const Accuracy& accuracy, std::ostream& out) {
  out << absl::StrFormat("accuracy %.2f%% (%d of %d rows)\n", accuracy.percent(), accuracy.right,
                         accuracy.rows);
}

}  // namespace

absl::Status RunInfer(const InferCommand& command, Client& client,
                      std::chrono::milliseconds deadline, const Streams& streams) {
  MLPSERVE_ASSIGN_OR_RETURN(
      const RemoteBlock block,
      RemoteBlock::Open(client, command.model, command.version, Deadline::In(deadline)));
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<float> rows, ReadRows(command.input, block));
  const auto count = static_cast<int64_t>(rows.size()) / block.input_features();
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<int64_t> labels, ReadLabels(command.labels, count));

  const Clock::time_point started = Clock::now();
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<float> results,
                            RunRows(command, block, rows, deadline, streams));
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  streams.out << absl::StrFormat("%d rows in %.3f s (%.0f rows/s)\n", count, seconds,
                                 static_cast<double>(count) / seconds);
  if (!command.output.empty()) {
    MLPSERVE_RETURN_IF_ERROR(
        WriteTensor(command.output, block.output_name(),
                    FromFloats(results, {count, block.output_features()}, block.output_type())));
  }
  if (command.labels.file.empty()) return absl::OkStatus();
  MLPSERVE_ASSIGN_OR_RETURN(const Accuracy accuracy,
                            Compare(Argmax(results, block.output_features()), labels));
  PrintAccuracy(accuracy, streams.out);
  return absl::OkStatus();
}

}  // namespace mlpserve::client
