#include "server/transport/infer_stream.h"

#include <utility>

#include "grpcpp/support/slice.h"
#include "server/transport/status.h"

namespace mlpserve {
namespace {

grpc::ByteBuffer ErrorAnswer(std::string_view id, const absl::Status& status) {
  const grpc::Status sent = ToGrpcStatus(status);
  inference::ModelStreamInferResponse response;
  response.set_error_message(sent.error_message());
  inference::ModelInferResponse* named = response.mutable_infer_response();
  named->set_id(std::string(id));
  (*named->mutable_parameters())["grpc_status"].set_int64_param(sent.error_code());
  const grpc::Slice slice(response.SerializeAsString());
  return {&slice, 1};
}

}  // namespace

// A request keeps its stream, and itself from Submit until OnDone.
class InferStream::Request final : public InferWork {
 public:
  explicit Request(InferStream& stream) : stream_(stream) { stream_.Ref(); }
  ~Request() { stream_.Unref(); }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  void KeepUntilDone(std::shared_ptr<Request> self) { self_ = std::move(self); }
  void OnDone(absl::Status status, std::span<OutputRows> outputs) override {
    const std::shared_ptr<Request> self = std::move(self_);
    stream_.Answer(*this, WithBlock(Placed(InTime(std::move(status)), outputs)), outputs);
  }

  // Guarded by InferStream::mutex_.
  grpc::ByteBuffer answer;
  bool answered = false;
  bool submitted = false;  // Submit has returned, so that Cancel may be called

 private:
  InferStream& stream_;
  std::shared_ptr<Request> self_;
};

void InferStreams::Accept(CallQueue& queue) { InferStream::Accept(*this, queue); }

void InferStreams::CloseAll() {
  MutexLock lock(mutex_);
  closing_ = true;
  for (InferStream* stream : open_) stream->Close();
}

void InferStream::Accept(InferStreams& streams, CallQueue& queue) {
  auto* stream = new InferStream(streams, queue);
  stream->references_ = 2;  // OnAccepted, OnCallDone
  stream->context_.AsyncNotifyWhenDone(static_cast<Event*>(&stream->done_event_));
  queue.Enter();
  streams.service_.RequestModelStreamInfer(&stream->context_, &stream->stream_, queue.get(),
                                           queue.get(),
                                           static_cast<Event*>(&stream->accepted_event_));
}

void InferStream::OnAccepted(bool ok) {
  if (!ok) {  // the server shuts down: there is no stream, and no other event will come
    CallQueue& queue = queue_;
    delete this;
    queue.Leave();
    return;
  }
  streams_.accepted_.Enter();
  Accept(streams_, queue_);
  Open();
  Unref();
}

void InferStream::Open() {
  MutexLock all(streams_.mutex_);
  streams_.open_.insert(this);
  MutexLock lock(mutex_);
  opened_ = true;
  closing_ = streams_.closing_;
  const absl::Status allowed = queue_.CheckToken(context_);
  if (allowed.ok()) return Advance();
  finishing_ = ended_ = true;
  Ref();
  stream_.Finish(ToGrpcStatus(allowed), static_cast<Event*>(&finished_event_));
}

void InferStream::Close() {
  MutexLock lock(mutex_);
  closing_ = true;
  FinishIfOver();
}

void InferStream::OnRead(bool ok) {
  std::shared_ptr<Request> request;
  {
    MutexLock lock(mutex_);
    request = std::move(reading_);
    if (ok && !finishing_) {
      request->timing.received = Clock::now();
      requests_.push_back(request);
    } else {
      ended_ = true;
      request.reset();
    }
    // Before the request is submitted, which may run a whole batch on this thread: another thread
    // can then take the next message.
    Advance();
  }
  if (request != nullptr) Serve(request);
  request.reset();
  Unref();
}

void InferStream::Serve(const std::shared_ptr<Request>& request) {
  const absl::Status status = request->Prepare(streams_.needs_, DeadlineOf(context_));
  if (!status.ok()) return Answer(*request, status, {});
  request->KeepUntilDone(request);
  request->Submit();
  bool cancel = false;
  {
    MutexLock lock(mutex_);
    request->submitted = true;
    cancel = left_ && !request->answered;
  }
  if (cancel) request->Cancel();
}

void InferStream::Answer(Request& request, const absl::Status& status,
                         std::span<OutputRows> outputs) {
  grpc::ByteBuffer answer = status.ok() ? request.Respond(outputs, InferResponseForm::kStream)
                                        : ErrorAnswer(request.id(), status);
  const auto bytes = static_cast<int64_t>(answer.Length());
  request.Record(streams_.needs_, status, bytes);
  request.ReleaseBytes();
  MutexLock lock(mutex_);
  request.answer.Swap(&answer);
  request.answered = true;
  unsent_bytes_ += bytes;
  Advance();
}

void InferStream::Advance() {
  WriteNext();
  ReadNext();
  FinishIfOver();
}

void InferStream::WriteNext() {
  while (!requests_.empty() && requests_.front()->answered && writing_ == nullptr) {
    std::shared_ptr<Request> next = std::move(requests_.front());
    requests_.pop_front();
    if (left_) {
      unsent_bytes_ -= static_cast<int64_t>(next->answer.Length());
      continue;
    }
    writing_ = std::move(next);
    Ref();
    const auto bytes = static_cast<int64_t>(writing_->answer.Length());
    if (bytes > static_cast<int64_t>(kCopiedRowsBytes)) {
      streams_.needs_.unread.Add(*this, context_.peer(), bytes);
    }
    stream_.Write(writing_->answer, static_cast<Event*>(&written_event_));
  }
}

void InferStream::ReadNext() {
  if (reading_ != nullptr || ended_ || left_ || closing_ || !opened_) return;
  const size_t in_flight = requests_.size() + (writing_ != nullptr ? 1 : 0);
  if (in_flight >= kMostInFlight || unsent_bytes_ >= kMostUnsentBytes) return;
  reading_ = std::make_shared<Request>(*this);
  Ref();
  stream_.Read(&reading_->received(), static_cast<Event*>(&read_event_));
}

void InferStream::FinishIfOver() {
  if (finishing_ || !opened_ || !requests_.empty() || writing_ != nullptr) return;
  if (!ended_ && !left_ && !closing_) return;
  finishing_ = true;
  Ref();
  grpc::Status status;
  if (left_) status = grpc::Status::CANCELLED;
  if (!left_ && !ended_) status = {grpc::StatusCode::UNAVAILABLE, "the server is shutting down"};
  stream_.Finish(status, static_cast<Event*>(&finished_event_));
}

void InferStream::CancelUnread() {
  context_.TryCancel();
  Unref();
}

void InferStream::OnWritten(bool ok) {
  streams_.needs_.unread.Remove(*this);
  std::shared_ptr<Request> written;  // goes after the lock
  {
    MutexLock lock(mutex_);
    written = std::move(writing_);
    unsent_bytes_ -= static_cast<int64_t>(written->answer.Length());
    if (!ok) left_ = true;
    Advance();
  }
  written.reset();
  Unref();
}

void InferStream::OnCallDone(bool /*ok*/) {
  std::vector<std::shared_ptr<Request>> waiting;
  if (context_.IsCancelled()) waiting = Leave();
  for (const std::shared_ptr<Request>& request : waiting) request->Cancel();
  waiting.clear();
  Unref();
}

// Nobody waits for answers any more. Returns the requests to cancel.
std::vector<std::shared_ptr<InferStream::Request>> InferStream::Leave() {
  std::vector<std::shared_ptr<Request>> waiting;
  MutexLock lock(mutex_);
  left_ = true;
  for (const std::shared_ptr<Request>& request : requests_) {
    if (request->submitted && !request->answered) waiting.push_back(request);
  }
  Advance();
  return waiting;
}

void InferStream::OnFinished(bool /*ok*/) { Unref(); }

void InferStream::Unref() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  {
    MutexLock lock(streams_.mutex_);
    streams_.open_.erase(this);
  }
  InferStreams& streams = streams_;
  CallQueue& queue = queue_;
  delete this;
  streams.accepted_.Leave();
  queue.Leave();
}

}  // namespace mlpserve
