// A stream on which each message is answered, by one message, before the next is read.
//
// One stream per method and queue is asked for ahead; each asks for the next when it is accepted.
// Bounds: one message of a stream at a time; a stream lives until its client ends it or leaves, or
// the server shuts down, which cancels it.
#pragma once

#include <functional>

#include "grpcpp/server_context.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/transport/call_queue.h"
#include "server/transport/event.h"
#include "server/transport/message_bytes.h"
#include "server/transport/status.h"

namespace mlpserve {

// What a method's streams share; must outlive them.
template <typename Request, typename Response>
struct StreamMethod {
  using Stream = grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

  // A generated Request<Method> function of a raw method.
  std::function<void(grpc::ServerContext*, Stream*, grpc::CompletionQueue*,
                     grpc::ServerCompletionQueue*, void* tag)>
      accept;
  std::function<void(const Request&, Response*)> answer;
};

// Owns itself: lives until its last event, of which it awaits one at a time.
template <typename Request, typename Response>
class AnswerStream final : private Event {
 public:
  using Method = StreamMethod<Request, Response>;

  static void Accept(const Method& method, CallQueue& queue) {
    auto* stream = new AnswerStream(method, queue);
    method.accept(&stream->context_, &stream->stream_, queue.get(), queue.get(), stream->tag());
  }

 private:
  enum class Step : uint8_t { kAccept, kRead, kWrite, kFinish };

  AnswerStream(const Method& method, CallQueue& queue) : method_(method), queue_(queue) {
    queue_.Enter();
  }
  ~AnswerStream() = default;

  void* tag() { return static_cast<Event*>(this); }

  void OnEvent(bool ok) override {
    if (step_ == Step::kFinish || (step_ == Step::kAccept && !ok)) return Destroy();
    if (!ok) return Finish(grpc::Status::OK);  // no further message, or nobody to send one to
    if (step_ == Step::kAccept) {
      Accept(method_, queue_);
      const absl::Status allowed = queue_.CheckToken(context_);
      if (!allowed.ok()) return Finish(ToGrpcStatus(allowed));
    }
    if (step_ == Step::kRead) return Answer();
    step_ = Step::kRead;
    stream_.Read(&received_, tag());
  }

  void Answer() {
    const absl::Status status = queue_.Read(received_, &request_);
    if (!status.ok()) return Finish(ToGrpcStatus(status));
    response_.Clear();
    method_.answer(request_, &response_);
    step_ = Step::kWrite;
    stream_.Write(BytesOf(response_), tag());
  }

  void Finish(const grpc::Status& status) {
    step_ = Step::kFinish;
    stream_.Finish(status, tag());
  }

  void Destroy() {
    CallQueue& queue = queue_;
    delete this;
    queue.Leave();
  }

  const Method& method_;
  CallQueue& queue_;
  grpc::ServerContext context_;
  grpc::ByteBuffer received_;
  Request request_;
  Response response_;
  typename Method::Stream stream_{&context_};
  Step step_ = Step::kAccept;  // of the event that is awaited
};

}  // namespace mlpserve
