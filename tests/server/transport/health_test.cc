// grpc.health.v1 over the wire.
#include "server/transport/health.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using Stub = grpc::health::v1::Health::Stub;

class HealthTest : public ServerTest {
 protected:
  struct Watch {
    explicit Watch(Stub* stub, const std::string& service = "") {
      SetDeadline(&context, std::chrono::seconds(20));
      HealthCheckRequest request;
      request.set_service(service);
      reader = stub->Watch(&context, request);
    }
    // The next status; -1 if the stream has ended.
    int Next() {
      HealthCheckResponse response;
      return reader->Read(&response) ? static_cast<int>(response.status()) : -1;
    }

    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader;
  };

  // Not serving yet.
  void SetUp() override {
    PutEcho();
    options_ = {.queues = 2, .threads_per_queue = 2};
    Start(options_);
    health_ = grpc::health::v1::Health::NewStub(channel_);
  }

  grpc::Status Check(const std::string& service, HealthCheckResponse* response) {
    grpc::ClientContext context;
    SetDeadline(&context);
    HealthCheckRequest request;
    request.set_service(service);
    return health_->Check(&context, request, response);
  }

  std::unique_ptr<Stub> health_;
};

TEST_F(HealthTest, CheckFollowsThePhases) {
  const std::pair<Phase, HealthCheckResponse::ServingStatus> phases[] = {
      {Phase::kStarting, HealthCheckResponse::NOT_SERVING},
      {Phase::kServing, HealthCheckResponse::SERVING},
      {Phase::kDraining, HealthCheckResponse::NOT_SERVING},
      {Phase::kClosing, HealthCheckResponse::NOT_SERVING}};
  for (const auto& [phase, status] : phases) {
    state_.Advance(phase);
    for (const char* service : {"", "inference.GRPCInferenceService"}) {
      HealthCheckResponse response;
      ASSERT_TRUE(Check(service, &response).ok());
      EXPECT_EQ(response.status(), status) << "phase " << static_cast<int>(phase);
    }
  }
}

TEST_F(HealthTest, CheckOfAnUnknownServiceIsNotFound) {
  HealthCheckResponse response;
  const grpc::Status status = Check("digits", &response);
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(),
            "expected the service \"\" or \"inference.GRPCInferenceService\", found \"digits\"");
}

TEST_F(HealthTest, WatchTellsTheStatusAndEveryChange) {
  Watch all(health_.get());
  Watch named(health_.get(), "inference.GRPCInferenceService");
  EXPECT_EQ(all.Next(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(named.Next(), HealthCheckResponse::NOT_SERVING);
  state_.Advance(Phase::kServing);
  EXPECT_EQ(all.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(named.Next(), HealthCheckResponse::SERVING);
  state_.Advance(Phase::kDraining);
  EXPECT_EQ(all.Next(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(named.Next(), HealthCheckResponse::NOT_SERVING);
}

TEST_F(HealthTest, WatchOfAnUnknownServiceSaysSoAndStaysOpen) {
  Watch unknown(health_.get(), "digits");
  EXPECT_EQ(unknown.Next(), HealthCheckResponse::SERVICE_UNKNOWN);
  Watch known(health_.get());
  EXPECT_EQ(known.Next(), HealthCheckResponse::NOT_SERVING);
  state_.Advance(Phase::kServing);
  EXPECT_EQ(known.Next(), HealthCheckResponse::SERVING);
  unknown.context.TryCancel();
  EXPECT_EQ(unknown.Next(), -1);
  EXPECT_EQ(unknown.reader->Finish().error_code(), StatusCode::CANCELLED);
}

TEST_F(HealthTest, AWatcherThatLeavesDisturbsNobody) {
  for (int i = 0; i < 50; ++i) {
    Watch leaving(health_.get());
    if (i % 2 == 0) {
      EXPECT_EQ(leaving.Next(), HealthCheckResponse::NOT_SERVING);
    }
    leaving.context.TryCancel();
  }
  Watch staying(health_.get());
  EXPECT_EQ(staying.Next(), HealthCheckResponse::NOT_SERVING);
  state_.Advance(Phase::kServing);
  EXPECT_EQ(staying.Next(), HealthCheckResponse::SERVING);
}

TEST_F(HealthTest, ShutdownEndsTheWatches) {
  Watch watch(health_.get());
  EXPECT_EQ(watch.Next(), HealthCheckResponse::NOT_SERVING);
  const TimePoint before = Clock::now();
  StopServer(before + std::chrono::seconds(15));
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(10));
  EXPECT_EQ(watch.Next(), -1);
  EXPECT_EQ(watch.reader->Finish().error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(HealthTest, WatchesAreBounded) {
  std::vector<std::unique_ptr<Watch>> watches;
  for (size_t i = 0; i < Health::kMaxWatches; ++i) {
    watches.push_back(std::make_unique<Watch>(health_.get()));
    ASSERT_EQ(watches.back()->Next(), HealthCheckResponse::NOT_SERVING) << i;
  }
  Watch one_more(health_.get());
  EXPECT_EQ(one_more.Next(), -1);
  EXPECT_EQ(one_more.reader->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace mlpserve
