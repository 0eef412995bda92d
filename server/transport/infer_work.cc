#include "server/transport/infer_work.h"

#include "absl/strings/str_cat.h"
#include "grpc/support/time.h"
#include "kernels/status/status_macros.h"
#include "server/transport/infer_check.h"
#include "server/transport/message_bytes.h"

namespace mlpserve {
TimePoint DeadlineOf(const grpc::ServerContext& context) {
  constexpr int64_t kForeverSeconds = int64_t{1} << 32;
  gpr_timespec deadline = context.raw_deadline();
  if (deadline.clock_type != GPR_CLOCK_MONOTONIC) {
    deadline = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
  }
  if (deadline.tv_sec > kForeverSeconds) return TimePoint::max();
  return TimePoint(std::chrono::seconds(deadline.tv_sec) +
                   std::chrono::nanoseconds(deadline.tv_nsec));
}

absl::Status InferWork::Prepare(const InferNeeds& needs, TimePoint of_call) {
  received_bytes_ = static_cast<int64_t>(received_.Length());
  if (!needs.state.accepts_requests()) {
    return absl::UnavailableError(
        needs.state.phase() == Phase::kLost ? "a device is lost" : "the server is shutting down");
  }
  if (received_bytes_ > needs.max_message_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("expected a request of at most ", needs.max_message_bytes,
                     " bytes (--max-message-bytes), found ", received_bytes_));
  }
  MLPSERVE_RETURN_IF_ERROR(needs.inflater.Inflate(received_));
  ReadSlices(received_, &slices_, &pieces_);
  MLPSERVE_RETURN_IF_ERROR(ParseInferMessage(pieces_, &message_));
  MLPSERVE_ASSIGN_OR_RETURN(entry_,
                            needs.catalog.Find(message_.model_name, message_.model_version));
  MLPSERVE_ASSIGN_OR_RETURN(const auto terms, CheckInfer(message_, entry_->config));
  if (terms.shared_input.is_shared() || terms.shared_output.is_shared()) {
    const absl::Status opened =
        shared_.Open(needs.regions, terms.shared_input, terms.shared_output);
    MLPSERVE_RETURN_IF_ERROR(WithBlock(opened));
  }
  rows = terms.rows;
  input = terms.input;
  source = shared_.has_input() ? &shared_ : nullptr;
  priority = terms.priority;
  queue_timeout = terms.queue_timeout;
  deadline = of_call;
  retry_after = Duration::zero();
  return absl::OkStatus();
}

absl::Status InferWork::InTime(absl::Status status) const {
  if (!status.ok() || Clock::now() < deadline) return status;
  return absl::DeadlineExceededError("the deadline passed before the answer was sent");
}

absl::Status InferWork::Placed(absl::Status status, std::span<const OutputRows> outputs) {
  if (!status.ok()) return status;
  return shared_.Place(message_.input.shared_memory.region.text,
                       message_.output.shared_memory.region.text, outputs);
}

void InferWork::Cancel() {
  constexpr auto kDeadlineRounding = std::chrono::milliseconds(2);
  if (deadline == TimePoint::max() || Clock::now() + kDeadlineRounding < deadline) {
    entry_->sink->Cancel(*this);
  }
}

absl::Status InferWork::WithBlock(const absl::Status& status) const {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("block \"", entry_->config.name, "\": ", status.message()));
}

grpc::ByteBuffer InferWork::Respond(std::span<OutputRows> outputs, InferResponseForm form) const {
  if (form == InferResponseForm::kStream && message_.wants_final_response) {
    form = InferResponseForm::kStreamFinal;
  }
  return BuildInferResponse({.model_name = entry_->config.name,
                             .model_version = entry_->version,
                             .id = message_.id,
                             .output = entry_->config.output,
                             .rows = rows,
                             .form = form,
                             .shared = SharedAnswer()},
                            shared_.has_output() ? std::span<OutputRows>() : outputs);
}

SharedTensor InferWork::SharedAnswer() const {
  if (!shared_.has_output()) return {};
  return {.region = message_.output.shared_memory.region.text,
          .offset = shared_.output_offset(),
          .bytes = static_cast<uint64_t>(rows * entry_->config.output.row_bytes())};
}

void InferWork::Record(const InferNeeds& needs, const absl::Status& status,
                       int64_t sent_bytes) const {
  const TimePoint now = Clock::now();
  if (entry_ == nullptr) {
    needs.metrics.RecordRefusal(status.code());
  } else if (!status.ok()) {
    entry_->metrics->RecordFailure(status.code(), now - timing.received);
  } else {
    entry_->metrics->RecordRequest({.total = now - timing.received,
                                    .queue = timing.batch_started - timing.received,
                                    .compute_input = timing.infer_started - timing.batch_started,
                                    .compute_infer = timing.infer_ended - timing.infer_started,
                                    .compute_output = timing.done - timing.infer_ended,
                                    .rows = rows,
                                    .received_bytes = received_bytes_,
                                    .sent_bytes = sent_bytes,
                                    .done = now});
  }
}

void InferWork::ReleaseBytes() {
  slices_.clear();
  received_.Clear();
  shared_.Clear();
}

void InferWork::Clear() {
  ReleaseBytes();
  entry_.reset();
  message_.Clear();
  input = {};
  source = nullptr;
}

}  // namespace mlpserve
