// A call of a method that nobody offers: UNIMPLEMENTED, with a message that names it. gRPC's own
// answer has none.
#pragma once

#include "grpcpp/generic/async_generic_service.h"
#include "server/transport/call_queue.h"
#include "server/transport/event.h"

namespace mlpserve {

// Owns itself: lives until its last event. One is asked for ahead on each queue.
class UnknownCall final : private Event {
 public:
  // Begins to take such calls on the queue. `service` must outlive them.
  static void Accept(grpc::AsyncGenericService& service, CallQueue& queue);

 private:
  UnknownCall(grpc::AsyncGenericService& service, CallQueue& queue)
      : service_(service), queue_(queue) {}
  ~UnknownCall() = default;

  void OnEvent(bool ok) override;
  grpc::Status Answer();

  grpc::AsyncGenericService& service_;
  CallQueue& queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  bool answered_ = false;
};

}  // namespace mlpserve
