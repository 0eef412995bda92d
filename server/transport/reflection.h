// Server reflection, v1 and v1alpha: tells grpcurl and its like which services there are, and the
// .proto files that describe them.
//
// Our own, as Debian's libgrpc++_reflection is synchronous, brings a pool of pollers with it, and
// knows v1alpha only.
// Threads: events on the queues' threads; answers only read descriptors.
#pragma once

#include "grpcpp/impl/service_type.h"
#include "proto/reflection.grpc.pb.h"
#include "proto/reflection_v1alpha.grpc.pb.h"
#include "server/transport/answer_stream.h"
#include "server/transport/call_queue.h"
#include "server/transport/inference_service.h"

namespace mlpserve {

// Of one message of a stream.
void AnswerReflection(const grpc::reflection::v1::ServerReflectionRequest& request,
                      grpc::reflection::v1::ServerReflectionResponse* response);

class Reflection {
 public:
  Reflection();

  grpc::Service& v1() { return v1_; }
  grpc::Service& v1alpha() { return v1alpha_; }

  // Begins to take streams of both services on the queue.
  void Accept(CallQueue& queue) const;

 private:
  using Method = StreamMethod<grpc::reflection::v1::ServerReflectionRequest,
                              grpc::reflection::v1::ServerReflectionResponse>;

  ReflectionService v1_;
  ReflectionAlphaService v1alpha_;
  Method v1_method_;
  Method v1alpha_method_;
};

}  // namespace mlpserve
