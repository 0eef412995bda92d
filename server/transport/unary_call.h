// A unary call that is answered from what the server knows, nearly always at once: everything but
// inference.
//
// One call per method and queue is asked for ahead; each asks for the next when it is accepted.
#pragma once

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/async_unary_call.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/transport/call_queue.h"
#include "server/transport/event.h"
#include "server/transport/message_bytes.h"
#include "server/transport/status.h"

namespace mlpserve {

// What a method's calls share; must outlive them.
template <typename Request, typename Response>
struct UnaryMethod {
  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

  // A generated Request<Method> function of a raw method.
  std::function<void(grpc::ServerContext*, grpc::ByteBuffer*, Writer*, grpc::CompletionQueue*,
                     grpc::ServerCompletionQueue*, void* tag)>
      accept;
  std::function<absl::Status(const Request&, Response*)> answer;
  // Instead of `answer`, for what takes long: calls `done` once, on any thread; the response is
  // an empty one.
  std::function<void(const Request&, std::function<void(const absl::Status&)> done)> answer_later;
  bool open = false;  // asks for no token
};

// Owns itself: lives until its last event.
template <typename Request, typename Response>
class UnaryCall final : private Event {
 public:
  using Method = UnaryMethod<Request, Response>;

  static void Accept(const Method& method, CallQueue& queue) {
    auto* call = new UnaryCall(method, queue);
    method.accept(&call->context_, &call->received_, &call->writer_, queue.get(), queue.get(),
                  static_cast<Event*>(call));
  }

 private:
  UnaryCall(const Method& method, CallQueue& queue) : method_(method), queue_(queue) {
    queue_.Enter();
  }
  ~UnaryCall() = default;

  void OnEvent(bool ok) override {
    if (!ok || answered_) {
      CallQueue& queue = queue_;
      delete this;
      queue.Leave();
      return;
    }
    Accept(method_, queue_);
    answered_ = true;
    absl::Status status = method_.open ? absl::OkStatus() : queue_.CheckToken(context_);
    if (status.ok()) status = queue_.Read(received_, &request_);
    if (!status.ok()) {
      Finish(status);
    } else if (method_.answer_later) {
      method_.answer_later(request_, [this](const absl::Status& done) { Finish(done); });
    } else {
      Finish(method_.answer(request_, &response_));
    }
  }

  void Finish(const absl::Status& status) {
    if (status.ok()) {
      writer_.Finish(BytesOf(response_), grpc::Status::OK, static_cast<Event*>(this));
    } else {
      writer_.FinishWithError(ToGrpcStatus(status), static_cast<Event*>(this));
    }
  }

  const Method& method_;
  CallQueue& queue_;
  grpc::ServerContext context_;
  grpc::ByteBuffer received_;
  Request request_;
  Response response_;
  typename Method::Writer writer_{&context_};
  bool answered_ = false;
};

}  // namespace mlpserve
