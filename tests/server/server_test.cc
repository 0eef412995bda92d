// The server whole, on a backend that does as the test says: what happens when its device is lost,
// and when it is told to stop while it loads.
#include "server/server.h"

#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "proto/health.grpc.pb.h"
#include "tests/server/engine/fake_backend.h"
#include "tests/server/lifecycle/tiny_call.h"
#include "tests/server/lifecycle/tiny_repository.h"
#include "tests/server/metrics/http_client.h"

namespace mlpserve {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using std::chrono::seconds;
using testing::HasSubstr;

class ServerTest : public testing::Test {
 protected:
  explicit ServerTest(FakeMode mode = FakeMode::kHeld) {
    auto backend = std::make_unique<FakeBackend>(FakeBackend::Options{.mode = mode});
    backend_ = backend.get();
    chosen_.backend = std::move(backend);
  }

  void TearDown() override {
    for (int i = 0; i < 2; ++i) stop_.Ask(StopReason::kAsked);
  }

  void Start() {
    auto server = Server::Start({.model_repository = repository_.folder().path(),
                                 .grpc_addresses = {"127.0.0.1:0"},
                                 .http_address = "127.0.0.1:0",
                                 .drain_grace = std::chrono::milliseconds(0)},
                                std::move(chosen_), metrics_, stop_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->grpc().ports()[0]),
                                   grpc::InsecureChannelCredentials());
    running_ = std::async(std::launch::async, [this] {
      const StopReason reason = server_->Run();
      ended_ = Clock::now();
      return reason;
    });
  }
  void WaitUntilReady() const {
    while (Readyz().code != 200) std::this_thread::yield();
  }
  HttpReply Readyz() const { return Get(server_->http().port(), "/readyz"); }

  grpc::Status Infer() { return InferTiny(channel_, seconds(20)); }

  TinyRepository repository_{{"a", "b"}};
  Metrics metrics_{{}};
  StopRequests stop_;
  ChosenBackend chosen_;
  FakeBackend* backend_ = nullptr;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  TimePoint ended_;
  std::future<StopReason> running_;
};

TEST_F(ServerTest, ALostDeviceTurnsHealthAndReadinessFailsWhatIsInFlightAndEndsTheServer) {
  Start();
  WaitUntilReady();
  grpc::ClientContext watching;
  watching.set_deadline(std::chrono::system_clock::now() + seconds(20));
  const auto watch =
      grpc::health::v1::Health::NewStub(channel_)->Watch(&watching, HealthCheckRequest());
  HealthCheckResponse health;
  ASSERT_TRUE(watch->Read(&health));
  ASSERT_EQ(health.status(), HealthCheckResponse::SERVING);
  auto in_flight = std::async(std::launch::async, [this] { return Infer(); });
  ASSERT_TRUE(backend_->WaitUntilHeld(1));

  const TimePoint lost = Clock::now();
  backend_->Lose(absl::UnavailableError("fell off the bus"));
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthCheckResponse::NOT_SERVING);
  const HttpReply readyz = Readyz();
  EXPECT_LT(Clock::now() - lost, seconds(1));
  EXPECT_EQ(readyz.code, 503);
  EXPECT_THAT(readyz.body, HasSubstr("device is lost"));

  const grpc::Status failed = in_flight.get();
  EXPECT_EQ(failed.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(failed.error_message(), HasSubstr("fell off the bus"));
  EXPECT_EQ(Infer().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(running_.get(), StopReason::kDeviceLost);
}

TEST_F(ServerTest, AStopDuringALoadEndsItWithinASecond) {
  backend_->HoldLoads(true);
  Start();
  ASSERT_TRUE(backend_->WaitUntilLoadIsHeld());
  EXPECT_EQ(Readyz().code, 503);
  const TimePoint asked = Clock::now();
  stop_.Ask(StopReason::kAsked);
  EXPECT_EQ(running_.get(), StopReason::kAsked);
  EXPECT_LT(ended_ - asked, seconds(1));
}

struct InlineServerTest : ServerTest {
  InlineServerTest() : ServerTest(FakeMode::kInline) {}
};

TEST_F(InlineServerTest, ServesAndStops) {
  Start();
  WaitUntilReady();
  EXPECT_TRUE(Infer().ok());
  EXPECT_TRUE(server_->loader().Unload("a", 1).ok());
  EXPECT_NE(Infer().error_code(), grpc::StatusCode::OK);
  stop_.Ask(StopReason::kAsked);
  EXPECT_EQ(running_.get(), StopReason::kAsked);
}

}  // namespace
}  // namespace mlpserve
