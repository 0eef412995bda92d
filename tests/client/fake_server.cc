#include "tests/client/fake_server.h"

#include <grpcpp/server_builder.h>

#include "client/tensor/tensor.h"

namespace mlpserve::client {

grpc::Status FakeService::ServerLive(grpc::ServerContext*, const inference::ServerLiveRequest*,
                                     inference::ServerLiveResponse* response) {
  response->set_live(true);
  return grpc::Status::OK;
}

grpc::Status FakeService::ServerReady(grpc::ServerContext*, const inference::ServerReadyRequest*,
                                      inference::ServerReadyResponse* response) {
  response->set_ready(ready);
  return grpc::Status::OK;
}

grpc::Status FakeService::ModelReady(grpc::ServerContext*,
                                     const inference::ModelReadyRequest* request,
                                     inference::ModelReadyResponse* response) {
  response->set_ready(request->name() == "double");
  return grpc::Status::OK;
}

grpc::Status FakeService::ServerMetadata(grpc::ServerContext*,
                                         const inference::ServerMetadataRequest*,
                                         inference::ServerMetadataResponse* response) {
  response->set_name("fake");
  response->set_version("1.2");
  response->add_extensions("parameters");
  return grpc::Status::OK;
}

grpc::Status FakeService::ModelMetadata(grpc::ServerContext*,
                                        const inference::ModelMetadataRequest* request,
                                        inference::ModelMetadataResponse* response) {
  if (request->name() != "double") {
    return {grpc::StatusCode::NOT_FOUND, "no block '" + request->name() + "'"};
  }
  response->set_name("double");
  response->set_platform("fake");
  response->add_versions("1");
  for (auto* tensor : {response->add_inputs(), response->add_outputs()}) {
    tensor->set_datatype(datatype);
    tensor->mutable_shape()->Add(shape.begin(), shape.end());
  }
  response->mutable_inputs(0)->set_name("x");
  response->mutable_outputs(0)->set_name("y");
  return grpc::Status::OK;
}

grpc::Status FakeService::ModelConfig(grpc::ServerContext*, const inference::ModelConfigRequest*,
                                      inference::ModelConfigResponse* response) {
  response->mutable_config()->set_max_batch_size(max_batch_size);
  return grpc::Status::OK;
}

grpc::Status FakeService::RepositoryIndex(grpc::ServerContext*,
                                          const inference::RepositoryIndexRequest*,
                                          inference::RepositoryIndexResponse* response) {
  auto& good = *response->add_models();
  good.set_name("double");
  good.set_version("1");
  good.set_state("READY");
  auto& bad = *response->add_models();
  bad.set_name("bad");
  bad.set_version("3");
  bad.set_state("UNAVAILABLE");
  bad.set_reason("fc0.weight: expected [3, 4], found [3, 5]");
  return grpc::Status::OK;
}

grpc::Status FakeService::SystemSharedMemoryRegister(
    grpc::ServerContext*, const inference::SystemSharedMemoryRegisterRequest* request,
    inference::SystemSharedMemoryRegisterResponse*) {
  if (!shares_memory) return {grpc::StatusCode::FAILED_PRECONDITION, "no shared memory"};
  regions[request->name()] = request->key() + " " + std::to_string(request->byte_size());
  return grpc::Status::OK;
}

grpc::Status FakeService::SystemSharedMemoryUnregister(
    grpc::ServerContext*, const inference::SystemSharedMemoryUnregisterRequest* request,
    inference::SystemSharedMemoryUnregisterResponse*) {
  regions.erase(request->name());
  return grpc::Status::OK;
}

grpc::Status FakeService::ModelInfer(grpc::ServerContext*,
                                     const inference::ModelInferRequest* request,
                                     inference::ModelInferResponse* response) {
  ++calls;
  const int now = ++at_once_;
  int most = most_at_once;
  while (now > most && !most_at_once.compare_exchange_weak(most, now)) {
  }
  grpc::Status status = infer ? infer(*request, *response) : Double(*request, *response);
  --at_once_;
  return status;
}

grpc::Status FakeService::ModelStreamInfer(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<inference::ModelStreamInferResponse, inference::ModelInferRequest>*
        stream) {
  ++streams;
  inference::ModelInferRequest request;
  for (int i = 0; i < answers_of_a_stream && stream->Read(&request); ++i) {
    inference::ModelStreamInferResponse response;
    const grpc::Status status = ModelInfer(context, &request, response.mutable_infer_response());
    if (!status.ok()) {
      response.set_error_message(status.error_message());
      response.mutable_infer_response()->Clear();
      (*response.mutable_infer_response()->mutable_parameters())["grpc_status"].set_int64_param(
          status.error_code());
    }
    if (!stream->Write(response)) break;
  }
  return {end_of_streams, "it ends"};
}

grpc::Status FakeService::Double(const inference::ModelInferRequest& request,
                                 inference::ModelInferResponse& response) {
  const auto& input = request.inputs(0);
  Tensor x{*ParseElementType(input.datatype()),
           {input.shape().begin(), input.shape().end()},
           request.raw_input_contents(0)};
  std::vector<float> values = ToFloats(x);
  for (float& value : values) value *= 2;
  response.set_model_name(request.model_name());
  response.set_model_version("1");
  response.set_id(request.id());
  auto& output = *response.add_outputs();
  output.set_name("y");
  output.set_datatype(input.datatype());
  *output.mutable_shape() = input.shape();
  response.add_raw_output_contents(FromFloats(values, x.shape, x.type).bytes);
  return grpc::Status::OK;
}

FakeServer::FakeServer() {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  address_ = "127.0.0.1:" + std::to_string(port);
}

FakeServer::~FakeServer() { server_->Shutdown(); }

}  // namespace mlpserve::client
