// A call of ModelInfer to a server that serves a TinyRepository.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/open_inference.grpc.pb.h"
#include "tests/server/lifecycle/tiny_repository.h"

namespace mlpserve {

// One row for the block "a".
inline grpc::Status InferTiny(const std::shared_ptr<grpc::Channel>& channel,
                              std::chrono::seconds timeout) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  inference::ModelInferRequest request;
  request.set_model_name("a");
  auto& x = *request.add_inputs();
  x.set_name("x");
  x.set_datatype("FP32");
  x.add_shape(1);
  x.add_shape(TinyRepository::kFeatures);
  request.add_raw_input_contents(std::string(TinyRepository::kFeatures * sizeof(float), '\0'));
  inference::ModelInferResponse response;
  return inference::GRPCInferenceService::NewStub(channel)->ModelInfer(&context, request,
                                                                       &response);
}

}  // namespace mlpserve
