#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "client/channel.h"
#include "tests/client/fake_server.h"

namespace mlpserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Deadline Soon() { return Deadline::In(std::chrono::seconds(20)); }

// A call of the block "double" with whole rows of three values.
struct DoubleCall {
  explicit DoubleCall(std::vector<float> rows)
      : values(std::move(rows)), shape{static_cast<int64_t>(values.size()) / 3, 3} {
    call.model = "double";
    call.inputs.push_back({"x", ElementType::kFp32, shape, std::as_bytes(std::span(values))});
  }

  std::vector<float> values;
  int64_t shape[2];
  InferQuery call;
};

class ClientTest : public ::testing::Test {
 protected:
  FakeServer server_;
  Client client_{server_.address()};
};

TEST_F(ClientTest, StatusCallsReturnWhatTheServerSays) {
  EXPECT_TRUE(client_.Live(Soon()).value());
  EXPECT_TRUE(client_.Ready(Soon()).value());
  server_.service().ready = false;
  EXPECT_FALSE(client_.Ready(Soon()).value());
  EXPECT_TRUE(client_.BlockReady("double", "", Soon()).value());
  EXPECT_FALSE(client_.BlockReady("other", "", Soon()).value());
  const ServerMetadata metadata = client_.Metadata(Soon()).value();
  EXPECT_EQ(metadata.name + " " + metadata.version, "fake 1.2");
  EXPECT_THAT(metadata.extensions, ElementsAre("parameters"));
}

TEST_F(ClientTest, ListHoldsBlocksThatAreNotReadyWithTheirReason) {
  const std::vector<IndexEntry> entries = client_.List(Soon()).value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].state, "READY");
  EXPECT_EQ(entries[1].name, "bad");
  EXPECT_THAT(entries[1].reason, HasSubstr("expected [3, 4]"));
}

TEST_F(ClientTest, DescribeTellsTensorsAndMaxRows) {
  const BlockMetadata metadata = client_.Describe("double", "", Soon()).value();
  ASSERT_EQ(metadata.inputs.size(), 1u);
  EXPECT_EQ(metadata.inputs[0].name, "x");
  EXPECT_THAT(metadata.inputs[0].shape, ElementsAre(-1, 3));
  EXPECT_EQ(client_.MaxRows("double", "", Soon()).value(), 4);
}

TEST_F(ClientTest, SharedMemoryIsRegisteredAndUnregistered) {
  EXPECT_TRUE(client_.RegisterSharedMemory("name", "/key", 7, Soon()).ok());
  EXPECT_THAT(server_.service().regions, ElementsAre(std::pair("name", "/key 7")));
  EXPECT_TRUE(client_.UnregisterSharedMemory("name", Soon()).ok());
  EXPECT_TRUE(server_.service().regions.empty());
  server_.service().shares_memory = false;
  EXPECT_TRUE(absl::IsFailedPrecondition(client_.RegisterSharedMemory("a", "b", 1, Soon())));
}

TEST_F(ClientTest, InferReturnsTheOutputsAndEchoesTheId) {
  DoubleCall request({1, 2, 3, 4, 5, 6});
  request.call.id = "seven";
  const absl::StatusOr<InferResult> result = client_.Infer(request.call, Soon());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->id, "seven");
  EXPECT_EQ(result->version, "1");
  ASSERT_EQ(result->outputs.size(), 1u);
  EXPECT_EQ(Describe(result->outputs[0].tensor), "FP32 [2,3]");
  EXPECT_THAT(ToFloats(result->outputs[0].tensor), ElementsAre(2, 4, 6, 8, 10, 12));
}

TEST_F(ClientTest, PriorityAndQueueTimeoutTravelAsParameters) {
  DoubleCall request({1, 2, 3});
  request.call.priority = 2;
  request.call.queue_timeout = std::chrono::microseconds(1500);
  std::map<std::string, int64_t> seen;
  server_.service().infer = [&](const auto& message, auto& response) {
    for (const auto& [name, value] : message.parameters()) seen[name] = value.int64_param();
    return FakeService::Double(message, response);
  };
  ASSERT_TRUE(client_.Infer(request.call, Soon()).ok());
  EXPECT_THAT(seen, ElementsAre(std::pair("priority", 2), std::pair("timeout", 1500)));
}

TEST_F(ClientTest, AnErrorKeepsItsCodeAndText) {
  const absl::Status status = client_.Describe("other", "", Soon()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no block 'other'");
}

TEST_F(ClientTest, BytesThatAreNotTheShapesAreRefusedBeforeSending) {
  DoubleCall request({1, 2, 3});
  request.shape[0] = 2;
  const absl::Status status = client_.Infer(request.call, Soon()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "input 'x': expected 24 bytes of FP32 [2,3], found 12");
  EXPECT_EQ(server_.service().calls, 0);
}

TEST_F(ClientTest, AnAnswerThatContradictsItselfIsInternal) {
  DoubleCall request({1, 2, 3});
  const auto error_of = [&](auto spoil) {
    server_.service().infer = [spoil](const auto& message, auto& response) {
      grpc::Status status = FakeService::Double(message, response);
      spoil(response);
      return status;
    };
    const absl::Status status = client_.Infer(request.call, Soon()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    return std::string(status.message());
  };
  EXPECT_THAT(error_of([](auto& response) { response.clear_raw_output_contents(); }),
              HasSubstr("describes 1 outputs: expected as many raw ones, found 0"));
  EXPECT_THAT(error_of([](auto& response) { response.mutable_outputs(0)->set_shape(0, 9); }),
              HasSubstr("output 'y': expected 108 bytes of FP32 [9,3], found 12"));
  EXPECT_THAT(error_of([](auto& response) { response.mutable_outputs(0)->set_datatype("FP8"); }),
              HasSubstr("unknown datatype FP8"));
}

TEST_F(ClientTest, ADeadlineThatIsOverFailsTheCall) {
  DoubleCall request({1, 2, 3});
  const absl::Status status =
      client_.Infer(request.call, Deadline::In(std::chrono::milliseconds(-1))).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, AServerThatAnswersLateMeetsTheDeadline) {
  DoubleCall request({1, 2, 3});
  std::promise<void> answer;
  server_.service().infer = [&](const auto&, auto&) {
    answer.get_future().wait();
    return grpc::Status::OK;
  };
  const absl::Status status =
      client_.Infer(request.call, Deadline::In(std::chrono::milliseconds(50))).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  answer.set_value();
}

TEST_F(ClientTest, ManyCallsAreInFlightAtOnceAndEachIsDoneOnce) {
  constexpr int kCalls = 200;
  std::atomic<int> right = 0;
  std::promise<void> all_done;
  for (int i = 0; i < kCalls; ++i) {
    DoubleCall request({static_cast<float>(i), 0, 0});  // gone before the answer comes
    client_.InferAsync(request.call, Soon(), [&, i](const absl::StatusOr<InferResult>& result) {
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(ToFloats(result->outputs[0].tensor)[0], 2.0f * static_cast<float>(i));
      if (++right == kCalls) all_done.set_value();
    });
  }
  all_done.get_future().wait();
  EXPECT_EQ(server_.service().calls, kCalls);
}

TEST_F(ClientTest, DestructionWaitsForCallsInFlight) {
  std::atomic<bool> done = false;
  {
    Client client(server_.address());
    DoubleCall request({1, 2, 3});
    client.InferAsync(request.call, Soon(),
                      [&](const absl::StatusOr<InferResult>&) { done = true; });
  }
  EXPECT_TRUE(done);
}

TEST_F(ClientTest, ClientsOfAnAddressShareOneConnection) {
  const auto channel = SharedChannel(server_.address());
  EXPECT_EQ(channel, SharedChannel(server_.address()));
  EXPECT_NE(channel, SharedChannel("127.0.0.1:1"));
}

TEST(Client, AServerThatIsNotThereIsUnavailable) {
  Client client("127.0.0.1:1");
  EXPECT_EQ(client.Live(Soon()).status().code(), absl::StatusCode::kUnavailable);
}

TEST(Deadline, FarOnesDoNotOverflow) {
  const Deadline far = Deadline::In(std::chrono::milliseconds::max());
  EXPECT_GT(far.at(), Deadline::Clock::now() + std::chrono::hours(24));
  FakeServer server;
  EXPECT_TRUE(Client(server.address()).Live(far).value());
}

}  // namespace
}  // namespace mlpserve::client
