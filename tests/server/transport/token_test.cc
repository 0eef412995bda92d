// Tokens, on every service: who brings none, or a wrong one, is UNAUTHENTICATED.
#include <chrono>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "tests/server/temporary_folder.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;

class TokenTest : public ServerTest {
 protected:
  void Start(bool open_health = false) {
    options_.token_file = folder_.Write("tokens", "first\n\n second \n");
    options_.open_health = open_health;
    ServerTest::Start(options_);
  }

  static void Bring(grpc::ClientContext* context, const std::string& header) {
    SetDeadline(context);
    if (!header.empty()) context->AddMetadata("authorization", header);
  }
  StatusCode Infer(const std::string& header) {
    grpc::ClientContext context;
    Bring(&context, header);
    Response response;
    return stub_->ModelInfer(&context, EchoRequest(1), &response).error_code();
  }
  StatusCode Health(const std::string& header) {
    grpc::ClientContext context;
    Bring(&context, header);
    HealthCheckResponse response;
    return grpc::health::v1::Health::NewStub(channel_)
        ->Check(&context, HealthCheckRequest(), &response)
        .error_code();
  }
  StatusCode Watch(const std::string& header) {
    grpc::ClientContext context;
    Bring(&context, header);
    const auto watch =
        grpc::health::v1::Health::NewStub(channel_)->Watch(&context, HealthCheckRequest());
    HealthCheckResponse response;
    if (watch->Read(&response)) return StatusCode::OK;
    return watch->Finish().error_code();
  }
  StatusCode Stream(const std::string& header) {
    grpc::ClientContext context;
    Bring(&context, header);
    const auto stream = stub_->ModelStreamInfer(&context);
    stream->Write(EchoRequest(1));
    stream->WritesDone();
    inference::ModelStreamInferResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish().error_code();
  }

  TemporaryFolder folder_;
};

TEST_F(TokenTest, EveryServiceAsksForOne) {
  Start();
  for (const char* good : {"Bearer first", "bearer second"}) {
    EXPECT_EQ(Infer(good), StatusCode::OK) << good;
    EXPECT_EQ(Health(good), StatusCode::OK) << good;
    EXPECT_EQ(Watch(good), StatusCode::OK) << good;
    EXPECT_EQ(Stream(good), StatusCode::OK) << good;
  }
  for (const char* bad : {"", "Bearer", "Bearer ", "Bearer third", "Bearer firs", "Bearer first ",
                          "Bearer firstt", "first", "Basic first"}) {
    EXPECT_EQ(Infer(bad), StatusCode::UNAUTHENTICATED) << bad;
    EXPECT_EQ(Health(bad), StatusCode::UNAUTHENTICATED) << bad;
    EXPECT_EQ(Watch(bad), StatusCode::UNAUTHENTICATED) << bad;
    EXPECT_EQ(Stream(bad), StatusCode::UNAUTHENTICATED) << bad;
  }
  for (const char* method :
       {"/inference.GRPCInferenceService/ServerLive", "/inference.GRPCInferenceService/ModelConfig",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/no.such/Method"}) {
    EXPECT_EQ(CallByName(method).error_code(), StatusCode::UNAUTHENTICATED) << method;
  }
  EXPECT_EQ(sink_->seen().size(), 4u);
}

TEST_F(TokenTest, HealthMayBeOpen) {
  Start(true);
  EXPECT_EQ(Health(""), StatusCode::OK);
  EXPECT_EQ(Watch(""), StatusCode::OK);
  EXPECT_EQ(Infer(""), StatusCode::UNAUTHENTICATED);
}

TEST_F(TokenTest, AChangedFileIsReadAgainAndABrokenOneKeepsWhatThereWas) {
  Start();
  folder_.Write("tokens", "third\n");
  const TimePoint limit = Clock::now() + std::chrono::seconds(10);
  while (Infer("Bearer third") != StatusCode::OK && Clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(Infer("Bearer third"), StatusCode::OK);
  EXPECT_EQ(Infer("Bearer first"), StatusCode::UNAUTHENTICATED);
  folder_.Write("tokens", "\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  EXPECT_EQ(Infer("Bearer third"), StatusCode::OK);
}

TEST_F(TokenTest, AFileWithoutTokensRefusesToStart) {
  options_.addresses = {"127.0.0.1:0"};
  for (const std::string& path : {folder_.Write("empty", " \n"), folder_.path("missing")}) {
    options_.token_file = path;
    const auto server = GrpcServer::Start(options_, catalog_, state_, metrics_);
    EXPECT_TRUE(absl::IsInvalidArgument(server.status()));
    EXPECT_THAT(std::string(server.status().message()), HasSubstr(path));
  }
}

}  // namespace
}  // namespace mlpserve
