#include "server/transport/infer_call.h"

#include <chrono>
#include <string>
#include <utility>

#include "server/transport/status.h"

namespace mlpserve {
namespace {

// What a client whose request found the queue full should wait before it tries again, as gRPC's
// retry policy reads it (gRFC A6).
constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";
// Where the queue does not know: about the time in which a full one has moved on.
constexpr Duration kUsualPushback = std::chrono::milliseconds(50);

std::string Pushback(Duration retry_after) {
  if (retry_after <= Duration::zero()) retry_after = kUsualPushback;
  return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(retry_after).count());
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
  needs.service.RequestModelInfer(&*context_, &received(), &*writer_, needs.queue.get(),
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

  absl::Status status = calls_.needs().queue.CheckToken(*context_);
  if (status.ok()) status = Prepare(calls_.needs().infer, DeadlineOf(*context_));
  if (status.ok()) {
    Submit();
    if ((progress_.fetch_or(kSubmitted) & kClientLeft) != 0) Cancel();
  } else {
    Answer(status, {});
  }
  Unref();
}

void InferCall::OnDone(absl::Status status, std::span<OutputRows> outputs) {
  status = InTime(std::move(status));
  if (status.ok() && (progress_.load(std::memory_order_acquire) & kClientLeft) != 0) {
    status = absl::CancelledError("the client left before the answer was sent");
  }
  Answer(WithBlock(Placed(std::move(status), outputs)), outputs);
}

void InferCall::Answer(const absl::Status& status, std::span<OutputRows> outputs) {
  grpc::ByteBuffer response;
  if (status.ok()) {
    response = Respond(outputs, InferResponseForm::kUnary);
  } else if (absl::IsResourceExhausted(status) && block_is_known()) {
    context_->AddTrailingMetadata(kPushbackKey, Pushback(retry_after));
  }
  Record(calls_.needs().infer, status, static_cast<int64_t>(response.Length()));
  // Whatever the client's speed, its request's memory is free from here on.
  ReleaseBytes();
  // The events may come, and the call may be used again, before Finish returns.
  if (status.ok()) {
    if (response.Length() > kCopiedRowsBytes) {
      calls_.needs().infer.unread.Add(*this, context_->peer(),
                                      static_cast<int64_t>(response.Length()));
    }
    writer_->Finish(response, grpc::Status::OK, static_cast<Event*>(&finished_event_));
  } else {
    writer_->FinishWithError(ToGrpcStatus(status), static_cast<Event*>(&finished_event_));
  }
}

void InferCall::OnFinished(bool /*ok*/) {
  calls_.needs().infer.unread.Remove(*this);
  Unref();
}

void InferCall::KeepUnread() { references_.fetch_add(1, std::memory_order_relaxed); }

void InferCall::CancelUnread() {
  context_->TryCancel();
  Unref();
}

void InferCall::OnCallDone(bool /*ok*/) {
  if (context_->IsCancelled()) {
    if ((progress_.fetch_or(kClientLeft) & kSubmitted) != 0) Cancel();
  }
  Unref();
}

void InferCall::Unref() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  calls_.accepted().Leave();
  calls_.GiveBack(this);
}

bool InferCall::Reset() {
  writer_.reset();
  context_.reset();
  Clear();
  return received_bytes() <= InferCalls::kIdleCallBytes;
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
