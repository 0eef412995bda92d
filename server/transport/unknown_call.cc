#include "server/transport/unknown_call.h"

#include "server/text/utf8.h"
#include "server/transport/status.h"

namespace mlpserve {

void UnknownCall::Accept(grpc::AsyncGenericService& service, CallQueue& queue) {
  auto* call = new UnknownCall(service, queue);
  queue.Enter();
  service.RequestCall(&call->context_, &call->stream_, queue.get(), queue.get(),
                      static_cast<Event*>(call));
}

void UnknownCall::OnEvent(bool ok) {
  if (!ok || answered_) {
    CallQueue& queue = queue_;
    delete this;
    queue.Leave();
    return;
  }
  Accept(service_, queue_);
  answered_ = true;
  stream_.Finish(Answer(), static_cast<Event*>(this));
}

grpc::Status UnknownCall::Answer() {
  const absl::Status allowed = queue_.CheckToken(context_);
  if (!allowed.ok()) return ToGrpcStatus(allowed);
  return {grpc::StatusCode::UNIMPLEMENTED,
          "this server does not offer the method " + QuotedShort(Printable(context_.method()))};
}

}  // namespace mlpserve
