// A gRPC server in the test's process that serves one block, "double": y = 2x, [-1, 3] to [-1, 3].
// What it answers can be set between calls.
#pragma once

#include <grpcpp/server.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "proto/open_inference.grpc.pb.h"

namespace mlpserve::client {

class FakeService final : public inference::GRPCInferenceService::Service {
 public:
  std::atomic<bool> ready = true;
  std::string datatype = "FP32";
  std::vector<int64_t> shape = {-1, 3};
  int max_batch_size = 4;
  // Replaces ModelInfer.
  std::function<grpc::Status(const inference::ModelInferRequest&, inference::ModelInferResponse&)>
      infer;
  // A stream ends after so many answers, with this code and the message "it ends".
  std::atomic<int> answers_of_a_stream = 1 << 30;
  std::atomic<grpc::StatusCode> end_of_streams = grpc::StatusCode::OK;
  bool shares_memory = true;
  std::map<std::string, std::string>
      regions;  // key and size by name; for calls one after the other
  std::atomic<int> calls = 0;
  std::atomic<int> streams = 0;
  std::atomic<int> most_at_once = 0;

  grpc::Status ServerLive(grpc::ServerContext*, const inference::ServerLiveRequest*,
                          inference::ServerLiveResponse* response) override;
  grpc::Status ServerReady(grpc::ServerContext*, const inference::ServerReadyRequest*,
                           inference::ServerReadyResponse* response) override;
  grpc::Status ModelReady(grpc::ServerContext*, const inference::ModelReadyRequest* request,
                          inference::ModelReadyResponse* response) override;
  grpc::Status ServerMetadata(grpc::ServerContext*, const inference::ServerMetadataRequest*,
                              inference::ServerMetadataResponse* response) override;
  grpc::Status ModelMetadata(grpc::ServerContext*, const inference::ModelMetadataRequest* request,
                             inference::ModelMetadataResponse* response) override;
  grpc::Status ModelConfig(grpc::ServerContext*, const inference::ModelConfigRequest*,
                           inference::ModelConfigResponse* response) override;
  grpc::Status RepositoryIndex(grpc::ServerContext*, const inference::RepositoryIndexRequest*,
                               inference::RepositoryIndexResponse* response) override;
  grpc::Status SystemSharedMemoryRegister(
      grpc::ServerContext*, const inference::SystemSharedMemoryRegisterRequest* request,
      inference::SystemSharedMemoryRegisterResponse* response) override;
  grpc::Status SystemSharedMemoryUnregister(
      grpc::ServerContext*, const inference::SystemSharedMemoryUnregisterRequest* request,
      inference::SystemSharedMemoryUnregisterResponse* response) override;
  grpc::Status ModelInfer(grpc::ServerContext*, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override;
  grpc::Status ModelStreamInfer(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<inference::ModelStreamInferResponse, inference::ModelInferRequest>*
          stream) override;

  // y = 2x in whatever type came.
  static grpc::Status Double(const inference::ModelInferRequest& request,
                             inference::ModelInferResponse& response);

 private:
  std::atomic<int> at_once_ = 0;
};

class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  const std::string& address() const { return address_; }
  FakeService& service() { return service_; }

 private:
  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace mlpserve::client
