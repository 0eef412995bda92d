#include "server/transport/infer_call.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/support/time.h"
#include "kernels/status/status_macros.h"
#include "server/transport/infer_check.h"
#include "server/transport/infer_response.h"
#include "server/transport/status.h"

namespace mlpserve {
namespace {

// What a client whose request found the queue full should wait before it tries again, as gRPC's
// retry policy reads it (gRFC A6). About the time in which a full queue has moved on.
constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";
constexpr char kPushbackMs[] = "50";

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

// The buffer's slices, and where their bytes lie. `pieces` point into `slices`: a short slice holds
// its bytes itself.
void ReadSlices(const grpc::ByteBuffer& buffer, std::vector<grpc::Slice>* slices,
                std::vector<Bytes>* pieces) {
  slices->resize(1);
  if (!buffer.TrySingleSlice(slices->data()).ok()) {
    slices->clear();
    if (!buffer.Dump(slices).ok()) slices->clear();
  }
  pieces->clear();
  for (const grpc::Slice& slice : *slices) {
    pieces->emplace_back(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
  }
}

}  // namespace

void InferCall::Request() {
  context_.emplace();
  writer_.emplace(&*context_);
  references_.store(3, std::memory_order_relaxed);
  progress_.store(0, std::memory_order_relaxed);
  context_->AsyncNotifyWhenDone(static_cast<Event*>(&done_event_));
  const InferCalls::Needs& needs = calls_.needs();
  needs.queue.Enter();
  needs.service.RequestModelInfer(&*context_, &received_, &*writer_, needs.queue.get(),
                                  needs.queue.get(), static_cast<Event*>(&accepted_event_));
}

void InferCall::OnAccepted(bool ok) {
  if (!ok) {  // the server shuts down: there is no call, and no other event will come
    calls_.GiveBack(this);
    return;
  }
  calls_.accepted().Enter();
  timing = {};
  timing.received = Clock::now();
  // Before the request is submitted, which may run a whole batch on this thread: another thread can
  // then take the next call.
  calls_.RequestNext();

  const absl::Status status = Prepare();
  if (status.ok()) {
    entry_->sink->Submit(*this);
    if ((progress_.fetch_or(kSubmitted) & kClientLeft) != 0) CancelSubmitted();
  } else {
    Answer(status, {});
  }
  Unref();
}

absl::Status InferCall::Prepare() {
  received_bytes_ = static_cast<int64_t>(received_.Length());
  const ServingState& state = calls_.needs().state;
  if (!state.accepts_requests()) {
    return absl::UnavailableError(state.phase() == Phase::kLost ? "a device is lost"
                                                                : "the server is shutting down");
  }
  ReadSlices(received_, &slices_, &pieces_);
  MLPSERVE_RETURN_IF_ERROR(ParseInferMessage(pieces_, &message_));
  MLPSERVE_ASSIGN_OR_RETURN(
      entry_, calls_.needs().catalog.Find(message_.model_name, message_.model_version));
  MLPSERVE_ASSIGN_OR_RETURN(const auto terms, CheckInfer(message_, entry_->config));
  rows = terms.rows;
  input = terms.input;
  priority = terms.priority;
  queue_timeout = terms.queue_timeout;
  deadline = DeadlineOf(*context_);
  return absl::OkStatus();
}

// A sink knows rows and time, but not the block's name.
void InferCall::OnDone(absl::Status status, std::span<OutputRows> outputs) {
  if (!status.ok()) {
    status = absl::Status(status.code(),
                          absl::StrCat("block \"", entry_->config.name, "\": ", status.message()));
  }
  Answer(status, outputs);
}

void InferCall::Answer(const absl::Status& status, std::span<OutputRows> outputs) {
  grpc::ByteBuffer response;
  if (status.ok()) {
    response = BuildInferResponse({.model_name = entry_->config.name,
                                   .model_version = entry_->version,
                                   .id = message_.id,
                                   .output = entry_->config.output,
                                   .rows = rows},
                                  outputs);
  } else if (absl::IsResourceExhausted(status)) {
    context_->AddTrailingMetadata(kPushbackKey, kPushbackMs);
  }
  Record(status, static_cast<int64_t>(response.Length()));
  // Whatever the client's speed, its request's memory is free from here on.
  slices_.clear();
  received_.Clear();
  // The events may come, and the call may be used again, before Finish returns.
  if (status.ok()) {
    writer_->Finish(response, grpc::Status::OK, static_cast<Event*>(&finished_event_));
  } else {
    writer_->FinishWithError(ToGrpcStatus(status), static_cast<Event*>(&finished_event_));
  }
}

void InferCall::Record(const absl::Status& status, int64_t sent_bytes) const {
  const TimePoint now = Clock::now();
  if (entry_ == nullptr) {
    calls_.needs().metrics.RecordRefusal(status.code());
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

void InferCall::OnFinished(bool /*ok*/) { Unref(); }

void InferCall::OnCallDone(bool /*ok*/) {
  if (context_->IsCancelled()) {
    if ((progress_.fetch_or(kClientLeft) & kSubmitted) != 0) CancelSubmitted();
  }
  Unref();
}

// gRPC ends a call at its deadline as if the client had left. The sink knows the deadline too, and
// answers with the right code.
void InferCall::CancelSubmitted() {
  constexpr auto kDeadlineRounding = std::chrono::milliseconds(2);
  if (deadline == TimePoint::max() || Clock::now() + kDeadlineRounding < deadline) {
    entry_->sink->Cancel(*this);
  }
}

void InferCall::Unref() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  calls_.accepted().Leave();
  calls_.GiveBack(this);
}

bool InferCall::Reset() {
  writer_.reset();
  context_.reset();
  entry_.reset();
  message_.Clear();
  input = {};
  return received_bytes_ <= InferCalls::kIdleCallBytes;
}

void InferCalls::Start() {
  for (int i = 0; i < kRequestedAhead; ++i) RequestNext();
}

void InferCalls::RequestNext() {
  std::unique_ptr<InferCall> call;
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      call = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (call == nullptr) call = std::make_unique<InferCall>(*this);
  call.release()->Request();  // GiveBack takes it again
}

void InferCalls::GiveBack(InferCall* call) {
  std::unique_ptr<InferCall> owned(call);
  if (owned->Reset()) {
    MutexLock lock(mutex_);
    if (idle_.size() < kIdleCalls) idle_.push_back(std::move(owned));
  }
  owned.reset();
  needs_.queue.Leave();
}

}  // namespace mlpserve
