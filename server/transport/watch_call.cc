#include "server/transport/watch_call.h"

#include "server/transport/status.h"

namespace mlpserve {

using grpc::health::v1::HealthCheckResponse;

WatchCall::WatchCall(Health& health, CallQueue& queue) : health_(health), queue_(queue) {
  queue_.Enter();
}

void WatchCall::Accept(Health& health, CallQueue& queue) {
  auto* call = new WatchCall(health, queue);
  call->context_.AsyncNotifyWhenDone(static_cast<Event*>(&call->done_event_));
  health.service_.RequestWatch(&call->context_, &call->received_, &call->writer_, queue.get(),
                               queue.get(), static_cast<Event*>(&call->accepted_event_));
}

void WatchCall::OnAccepted(bool ok) {
  if (!ok) {  // the server shuts down: there is no call, and no other event will come
    Destroy();
    return;
  }
  Accept(health_, queue_);
  {
    MutexLock lock(health_.mutex_);
    Open();
  }
  Unref();
}

void WatchCall::Open() {
  opened_ = true;
  absl::Status status = health_.open_ ? absl::OkStatus() : queue_.CheckToken(context_);
  if (status.ok()) status = queue_.Read(received_, &request_);
  if (!status.ok()) {
    Finish(ToGrpcStatus(status));
  } else if (client_left_) {
    Finish(grpc::Status::CANCELLED);
  } else if (health_.closing_) {
    Finish({grpc::StatusCode::UNAVAILABLE, "the server is shutting down"});
  } else if (health_.watches_.size() >= Health::kMaxWatches) {
    Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many health watches are open"});
  } else {
    health_.watches_.insert(this);
    SendCurrent();
  }
}

void WatchCall::SendCurrent() {
  const auto status = health_.StatusOf(request_.service());
  if (writing_ || sent_ == status) return;
  HealthCheckResponse response;
  response.set_status(status);
  writing_ = true;
  sent_ = status;
  writer_.Write(BytesOf(response), static_cast<Event*>(&written_event_));
}

void WatchCall::Finish(const grpc::Status& status) {
  if (finish_.has_value()) return;
  finish_ = status;
  if (!writing_) writer_.Finish(*finish_, static_cast<Event*>(&finished_event_));
}

void WatchCall::OnWritten(bool ok) {
  MutexLock lock(health_.mutex_);
  writing_ = false;
  if (finish_.has_value()) {
    writer_.Finish(*finish_, static_cast<Event*>(&finished_event_));
  } else if (!ok) {
    health_.watches_.erase(this);
    Finish(grpc::Status::CANCELLED);
  } else {
    SendCurrent();
  }
}

void WatchCall::OnCallDone(bool /*ok*/) {
  {
    MutexLock lock(health_.mutex_);
    client_left_ = true;
    health_.watches_.erase(this);
    // Else another thread is about to open the call, and will see it.
    if (opened_) Finish(grpc::Status::CANCELLED);
  }
  Unref();
}

void WatchCall::OnFinished(bool /*ok*/) { Unref(); }

void WatchCall::Unref() {
  {
    MutexLock lock(health_.mutex_);
    if (--references_ > 0) return;
  }
  Destroy();
}

void WatchCall::Destroy() {
  CallQueue& queue = queue_;
  delete this;
  queue.Leave();
}

}  // namespace mlpserve
