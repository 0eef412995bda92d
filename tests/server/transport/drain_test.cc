// Shutting down under load, as the clients of the last moment see it.
#include <atomic>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::StatusCode;

class DrainTest : public ServerTest {
 protected:
  static constexpr int kClients = 8;

  // Clients that call without pause, each on a connection of its own, until they are refused.
  void StartClients() {
    refusals_.resize(kClients);
    for (grpc::Status& refusal : refusals_) {
      clients_.emplace_back(
          [this, &refusal, stub = inference::GRPCInferenceService::NewStub(Connect(Address()))] {
            for (;; ++answered_) {
              grpc::ClientContext context;
              SetDeadline(&context);
              Response response;
              refusal = stub->ModelInfer(&context, EchoRequest(8), &response);
              if (!refusal.ok()) return;
            }
          });
    }
  }

  void StopUnderLoad() {
    ASSERT_TRUE(sink_->WaitUntilSeen(100));
    state_.Advance(Phase::kDraining);
    ASSERT_TRUE(sink_->WaitUntilSeen(sink_->seen().size() + 100));
    StopServer(Clock::now() + std::chrono::seconds(10));
    for (std::thread& client : clients_) client.join();
  }

  std::vector<std::thread> clients_;
  std::vector<grpc::Status> refusals_;  // by client
  std::atomic<size_t> answered_{0};
};

TEST_F(DrainTest, ClientsAreToldThatTheServerShutsDownAndLoseNoRequest) {
  Start(options_);
  StartClients();
  StopUnderLoad();
  // Whatever reached the sink was answered to its client.
  EXPECT_EQ(answered_, sink_->seen().size());
  for (const grpc::Status& refusal : refusals_) {
    // CANCELLED: what was under way when gRPC began to shut down (grpc_server.cc).
    EXPECT_THAT(refusal.error_code(),
                testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED))
        << refusal.error_message();
  }
}

}  // namespace
}  // namespace mlpserve
