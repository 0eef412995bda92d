// The server as a whole: addresses, limits, what is not offered, shutting down.
#include "server/transport/grpc_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/grpc.h"
#include "gtest/gtest.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class GrpcServerTest : public ServerTest {
 protected:
  absl::Status StartError(const std::vector<std::string>& addresses) {
    options_.addresses = addresses;
    auto server = GrpcServer::Start(options_, catalog_, state_, metrics_);
    EXPECT_FALSE(server.ok());
    return server.status();
  }

  static std::string SocketPath() {
    return absl::StrCat(testing::TempDir(), "/mlpserve_test_", getpid(), ".sock");
  }
};

TEST_F(GrpcServerTest, SeveralAddressesServeTheSame) {
  options_.addresses = {"127.0.0.1:0", "unix:" + SocketPath(), "127.0.0.1:0"};
  Start(options_);
  EXPECT_NE(server_->ports()[0], 0);
  EXPECT_EQ(server_->ports()[1], 0);
  EXPECT_NE(server_->ports()[2], server_->ports()[0]);
  for (size_t i = 0; i < options_.addresses.size(); ++i) {
    stub_ = inference::GRPCInferenceService::NewStub(Connect(Address(i)));
    Response response;
    const grpc::Status status = Infer(EchoRequest(2), &response);
    EXPECT_TRUE(status.ok()) << Address(i) << ": " << status.error_message();
  }
}

TEST_F(GrpcServerTest, APortInUseIsNamed) {
  Start(options_);
  const std::string address = Address();
  const absl::Status status = StartError({address});
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(status.message(), "cannot listen on " + address + ": Address already in use");
}

TEST_F(GrpcServerTest, AUnixSocketInUseIsNotTakenOver) {
  const std::string address = "unix:" + SocketPath();
  options_.addresses = {address};
  Start(options_);
  const absl::Status status = StartError({address});
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(status.message(), "cannot listen on " + address + ": another process listens there");
  Response response;
  EXPECT_TRUE(Infer(EchoRequest(1), &response).ok());
}

TEST_F(GrpcServerTest, AUnixSocketThatAKilledServerLeftIsReplaced) {
  const std::string path = SocketPath();
  options_.addresses = {"unix:" + path};
  {
    const int socket_left = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_storage name{};
    name.ss_family = AF_UNIX;
    path.copy(reinterpret_cast<char*>(&name) + sizeof(sa_family_t), path.size());
    ASSERT_EQ(bind(socket_left, reinterpret_cast<sockaddr*>(&name),
                   static_cast<socklen_t>(sizeof(sa_family_t) + path.size() + 1)),
              0);
    close(socket_left);
  }
  Start(options_);
  Response response;
  EXPECT_TRUE(Infer(EchoRequest(1), &response).ok());
}

TEST_F(GrpcServerTest, BadAddressesAreNamed) {
  EXPECT_THAT(StartError({}).message(), HasSubstr("at least one address"));
  for (const char* address :
       {"8001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1",
        ":8001", "::1:8001", "unix:", ""}) {
    const absl::Status status = StartError({"127.0.0.1:0", address});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << address << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr(absl::StrCat("found \"", address, "\"")));
  }
  EXPECT_THAT(StartError({"unix:/tmp/twice", "unix:/tmp/twice"}).message(), HasSubstr("twice"));
  const std::string long_path = "unix:/" + std::string(200, 'p');
  EXPECT_THAT(StartError({long_path}).message(), HasSubstr("expected a path of at most 107 bytes"));
  EXPECT_TRUE(absl::IsUnavailable(StartError({"unix:/no/such/folder/socket"})));
  EXPECT_TRUE(absl::IsUnavailable(StartError({"192.0.2.1:0"})));  // of no host: RFC 5737
}

TEST_F(GrpcServerTest, MethodsThatAreNotOfferedAreUnimplementedAtOnce) {
  Start(options_);
  for (const char* method : {"NoSuchMethod", "modelinfer", "SystemSharedMemory"}) {
    const grpc::Status status =
        CallByName(absl::StrCat("/inference.GRPCInferenceService/", method));
    EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED) << method;
    EXPECT_THAT(status.error_message(), HasSubstr(method));
  }
  const grpc::Status unknown = CallByName("/no.such.Service/Method");
  EXPECT_EQ(unknown.error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(unknown.error_message(),
            "this server does not offer the method \"/no.such.Service/Method\"");
}

TEST_F(GrpcServerTest, EveryMethodThatIsOfferedAnswers) {
  Start(options_);
  const char* const kMethods[] = {"ServerLive",      "ServerReady",     "ServerMetadata",
                                  "ModelReady",      "ModelMetadata",   "ModelConfig",
                                  "ModelInfer",      "ModelStatistics", "ModelStreamInfer",
                                  "RepositoryIndex", "LogSettings",     "TraceSetting"};
  for (const char* method : kMethods) {
    const grpc::Status status =
        CallByName(absl::StrCat("/inference.GRPCInferenceService/", method));
    // Those that name a block find none without a name.
    EXPECT_THAT(status.error_code(), testing::AnyOf(StatusCode::OK, StatusCode::NOT_FOUND))
        << method << ": " << status.error_message();
  }
}

TEST_F(GrpcServerTest, WithoutModelControlLoadingIsRefusedWithTheFlagsName) {
  Start(options_);
  for (const char* method : {"RepositoryModelLoad", "RepositoryModelUnload"}) {
    const grpc::Status status =
        CallByName(absl::StrCat("/inference.GRPCInferenceService/", method));
    EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("--model-control=explicit"));
  }
}

TEST_F(GrpcServerTest, AMessageOverTheLimitIsRefusedAndTheConnectionLives) {
  options_.limits.max_message_bytes = 100'000;
  Start(options_);
  const grpc::Status status = InferError(EchoRequest(100'000 / 16));
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("(--max-message-bytes), found "));
  EXPECT_TRUE(sink_->seen().empty());
  Response response;
  EXPECT_TRUE(Infer(EchoRequest(5000), &response).ok());
}

TEST_F(GrpcServerTest, MetadataOverTheLimitIsRefused) {
  Start(options_);
  grpc::ClientContext context;
  SetDeadline(&context);
  context.AddMetadata("key", std::string(20'000, 'm'));
  Response response;
  const grpc::Status status = stub_->ModelInfer(&context, EchoRequest(1), &response);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_TRUE(sink_->seen().empty());
}

TEST_F(GrpcServerTest, CompressedMessagesAreRefused) {
  Start(options_);
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    SetDeadline(&context);
    context.set_compression_algorithm(algorithm);
    Response response;
    const grpc::Status status = stub_->ModelInfer(&context, EchoRequest(1000), &response);
    EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("--grpc-compression"));
  }
  EXPECT_TRUE(sink_->seen().empty());
}

TEST_F(GrpcServerTest, WhatMessagesInflateToIsBoundedTogether) {
  options_.compression = Compression::kGzip;
  options_.limits.memory_quota_bytes = 20 << 20;
  Start(options_);
  sink_->Hold();
  Request padded = EchoRequest(1);
  (*padded.mutable_parameters())["padding"].set_string_param(std::string(8 << 20, 'p'));
  const auto infer = [&] {
    grpc::ClientContext context;
    SetDeadline(&context);
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    Response response;
    return stub_->ModelInfer(&context, padded, &response);
  };
  auto first = std::async(std::launch::async, infer);
  auto second = std::async(std::launch::async, infer);
  ASSERT_TRUE(sink_->WaitUntilHeld(2));
  const grpc::Status refused = infer();
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("inflated messages hold"));
  sink_->Release();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  auto again = std::async(std::launch::async, infer);
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  sink_->Release();
  EXPECT_TRUE(again.get().ok());
}

TEST_F(GrpcServerTest, WhatIsInFlightIsAnsweredWhileTheServerShutsDown) {
  Start(options_);
  sink_->Hold();
  Response response;
  auto call = std::async(std::launch::async, [&] { return Infer(EchoRequest(3), &response); });
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  auto stopped =
      std::async(std::launch::async, [&] { StopServer(Clock::now() + std::chrono::seconds(20)); });
  // Once it has begun to, requests are refused before their block is looked for.
  Request unknown = EchoRequest(1);
  unknown.set_model_name("nobody");
  grpc::Status refused;
  do {
    refused = InferError(unknown);
  } while (refused.error_code() == StatusCode::NOT_FOUND);
  EXPECT_EQ(refused.error_code(), StatusCode::UNAVAILABLE);
  sink_->Release();
  const grpc::Status status = call.get();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.raw_output_contents(0).size(), 48u);
  stopped.get();
  server_.reset();
}

TEST_F(GrpcServerTest, WhatIsInFlightAtTheDeadlineIsCancelled) {
  Start(options_);
  sink_->Hold();
  auto call = std::async(std::launch::async, [&] { return InferError(EchoRequest(3)); });
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  StopServer(Clock::now());
  EXPECT_TRUE(sink_->WaitUntilCancelled(1));
  EXPECT_FALSE(call.get().ok());
}

TEST_F(GrpcServerTest, DrainingServesAndClosingRefuses) {
  Start(options_);
  Response response;
  state_.Advance(Phase::kDraining);
  EXPECT_TRUE(Infer(EchoRequest(1), &response).ok());
  state_.Advance(Phase::kClosing);
  const grpc::Status status = InferError(EchoRequest(1));
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the server is shutting down");
}

TEST_F(GrpcServerTest, AServerIsStartedAndStoppedManyTimes) {
  options_.addresses = {"127.0.0.1:0"};
  for (int i = 0; i < 20; ++i) {
    ServingState state;
    auto server = GrpcServer::Start(options_, catalog_, state, metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    if (i % 2 == 0) {
      stub_ = inference::GRPCInferenceService::NewStub(
          Connect(absl::StrCat("127.0.0.1:", (*server)->ports()[0])));
      Response response;
      EXPECT_TRUE(Infer(EchoRequest(1), &response).ok());
    }
    if (i % 3 == 0) (*server)->Shutdown(Clock::now());
  }
}

// Else the last one would wait for gRPC's poller, for up to ten seconds after a large answer.
TEST_F(GrpcServerTest, AServerThatStoppedIsNeverTheLastUserOfGrpc) {
  options_.addresses = {"127.0.0.1:0"};
  ASSERT_EQ(stub_, nullptr);
  ASSERT_TRUE(GrpcServer::Start(options_, catalog_, state_, metrics_).ok());
  EXPECT_NE(grpc_is_initialized(), 0);
}

}  // namespace
}  // namespace mlpserve
