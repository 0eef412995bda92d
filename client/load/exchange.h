// One request after another to a server, each with its answer: the part of a worker that knows
// gRPC.
//
// Belongs to one worker. Send and Advance must not run at the same time, but may on different
// threads, one after the other.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <memory>

#include "absl/status/status.h"
#include "proto/open_inference.pb.h"

namespace mlpserve::load {

class Exchange {
 public:
  virtual ~Exchange() = default;

  // Begins to send. `request` must live until the answer has come; every event that belongs to it
  // comes out of the queue with `tag`.
  virtual void Send(const grpc::ByteBuffer& request, void* tag) = 0;
  // Handles an event. True: the answer is there, and Send may be called again.
  virtual bool Advance(bool ok) = 0;
  // Ends what is under way; it is answered with CANCELLED, if nothing else came first.
  virtual void Cancel() = 0;

  // Once Advance has returned true: what became of the request, and its answer if all went well;
  // false where the bytes are no such message.
  virtual absl::Status status() const = 0;
  virtual bool ParseAnswer(inference::ModelInferResponse& answer) const = 0;
};

// ModelInfer: a call for each request, which has `deadline` to be answered; 0: as long as it takes,
// and a tenth less processor time on both sides, as gRPC sends no deadline and sets no timer.
std::unique_ptr<Exchange> NewUnaryExchange(grpc::GenericStub& stub, grpc::CompletionQueue& queue,
                                           std::chrono::milliseconds deadline);

// ModelStreamInfer: one stream for all requests, the next of which is sent once the last is
// answered. A request that the stream's end leaves without an answer has failed, and the next one
// opens another stream.
std::unique_ptr<Exchange> NewStreamExchange(grpc::GenericStub& stub, grpc::CompletionQueue& queue);

}  // namespace mlpserve::load
