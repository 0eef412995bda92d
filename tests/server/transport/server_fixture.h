// A GrpcServer on a free loopback port, in front of a fake sink, and a client for it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "proto/health.grpc.pb.h"
#include "proto/open_inference.grpc.pb.h"
#include "server/catalog/catalog.h"
#include "server/catalog/serving_state.h"
#include "server/metrics/metrics.h"
#include "server/sync/mutex.h"
#include "server/transport/grpc_server.h"

namespace mlpserve {

// Answers with the input's bytes, as the input and output of its block are alike; or keeps requests
// until the test lets them go; or fails them.
class FakeSink final : public InferSink {
 public:
  // What a request came with, since it may be gone when the test looks.
  struct Seen {
    int64_t rows = 0;
    std::string input;
    int priority = 0;
    TimePoint deadline;
    Duration queue_timeout{};
  };

  void Submit(InferRequest& request) override;
  // Completes a request that is held with CANCELLED.
  void Cancel(InferRequest& request) override;

  void Hold();                         // from now on
  void FailWith(absl::Status status);  // from now on
  // Answers with these bytes in so many pieces, each under a lease, whatever came.
  void AnswerWith(std::string bytes, int pieces);

  std::vector<Seen> seen() const;
  // Waits until so many requests have come, are held, have been cancelled, or leases are out; false
  // after 10 s.
  bool WaitUntilSeen(size_t count);
  bool WaitUntilHeld(size_t count);
  bool WaitUntilCancelled(size_t count);
  bool WaitUntilLeasesOut(int count);
  // Answers all that is held, on the calling thread.
  void Release();

 private:
  void Answer(InferRequest& request);
  template <typename Condition>
  bool WaitUntil(Condition condition);
  static void ReturnLease(void* sink);

  mutable Mutex mutex_;
  CondVar changed_;
  bool hold_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  std::string answer_ ABSL_GUARDED_BY(mutex_);
  int answer_pieces_ ABSL_GUARDED_BY(mutex_) = 0;
  int leases_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Seen> seen_ ABSL_GUARDED_BY(mutex_);
  std::deque<InferRequest*> held_ ABSL_GUARDED_BY(mutex_);
};

// Block "echo", version 3, input "x" [rows, 4] FP32, output "y" alike, 2 priority levels.
class ServerTest : public testing::Test {
 protected:
  using Request = inference::ModelInferRequest;
  using Response = inference::ModelInferResponse;

  static constexpr int64_t kFeatures = 4;

  void SetUp() override;
  // Starts the server with these options, with a free loopback port where they name no address.
  void Start(GrpcServerOptions options);
  // "echo", served by sink_.
  CatalogEntry EchoEntry() const;
  // Adds or replaces "echo" as changed by `change`.
  void PutEcho(void (*change)(CatalogEntry*) = nullptr);

  std::string Address(size_t index = 0) const;
  static std::shared_ptr<grpc::Channel> Connect(const std::string& address,
                                                grpc::ChannelArguments arguments = {});
  void StopServer(TimePoint deadline) { server_->Shutdown(deadline); }

  static Request EchoRequest(int64_t rows);
  grpc::Status Infer(const Request& request, Response* response);
  // System shared memory, of which `key` names the object.
  grpc::Status Register(const std::string& name, const std::string& key, uint64_t offset,
                        uint64_t bytes);
  grpc::Status Unregister(const std::string& name);
  // Says of an input or a requested output that it lies in the region.
  template <typename Tensor>
  static void Share(const std::string& region, int64_t bytes, int64_t offset, Tensor* tensor) {
    auto& parameters = *tensor->mutable_parameters();
    parameters["shared_memory_region"].set_string_param(region);
    parameters["shared_memory_byte_size"].set_int64_param(bytes);
    if (offset != 0) parameters["shared_memory_offset"].set_int64_param(offset);
  }
  // Of a request that must fail.
  grpc::Status InferError(const Request& request);
  // A call by the method's full name, "/package.Service/Method", whose message is these bytes.
  grpc::Status CallByName(const std::string& method, const std::string& message = "");

  Catalog catalog_;
  ServingState state_;
  Metrics metrics_{BuildInfo{}};
  std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>();
  std::shared_ptr<BlockMetrics> block_metrics_;
  GrpcServerOptions options_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

// Runs call(client, i) for i in [0, calls), each client on a thread of its own; returns how many
// were false.
int CountFailed(int clients, int calls, const std::function<bool(int client, int i)>& call);

// A context whose call fails rather than hangs.
void SetDeadline(grpc::ClientContext* context,
                 std::chrono::milliseconds timeout = std::chrono::seconds(10));

}  // namespace mlpserve
