#include "client/remote_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <numeric>

#include "client/infer_all.h"
#include "tests/client/fake_server.h"

namespace mlpserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Deadline Soon() { return Deadline::In(std::chrono::seconds(20)); }

class RemoteBlockTest : public ::testing::Test {
 protected:
  absl::StatusOr<RemoteBlock> Open() { return RemoteBlock::Open(client_, "double", "", Soon()); }

  FakeServer server_;
  Client client_{server_.address()};
};

TEST_F(RemoteBlockTest, KnowsItsTensors) {
  const RemoteBlock block = Open().value();
  EXPECT_EQ(block.input_name(), "x");
  EXPECT_EQ(block.output_name(), "y");
  EXPECT_EQ(block.input_features(), 3);
  EXPECT_EQ(block.output_features(), 3);
  EXPECT_EQ(block.max_rows(), 4);
}

TEST_F(RemoteBlockTest, RowsTravelInTheBlocksType) {
  const std::vector<float> rows = {1, 2, 1.0f + 0x1p-20f};
  for (const char* type : {"FP32", "FP16", "BF16"}) {
    server_.service().datatype = type;
    std::string seen;
    server_.service().infer = [&](const auto& message, auto& response) {
      seen = message.inputs(0).datatype();
      return FakeService::Double(message, response);
    };
    const float exact = type == std::string("FP32") ? 2.0f + 0x1p-19f : 2.0f;
    EXPECT_THAT(Open().value().Infer(rows, Soon()).value(), ElementsAre(2, 4, exact)) << type;
    EXPECT_EQ(seen, type);
  }
}

TEST_F(RemoteBlockTest, ABlockOfAnotherFormIsRefusedWithWhatWasFound) {
  server_.service().shape = {-1, 3, 3};
  EXPECT_THAT(std::string(Open().status().message()),
              HasSubstr("found x FP32 [-1,3,3] and y FP32 [-1,3,3]"));
  server_.service().shape = {-1, 3};
  server_.service().datatype = "INT64";
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(RemoteBlockTest, RowsThatAreNotWholeAreRefused) {
  const RemoteBlock block = Open().value();
  const std::vector<float> four(4);
  EXPECT_EQ(block.Infer(four, Soon()).status().message(),
            "input 'x' of block 'double': expected whole rows of 3 values, found 4 values");
  EXPECT_FALSE(block.Infer({}, Soon()).ok());
  std::promise<absl::Status> done;
  block.InferAsync(four, Soon(), [&](auto result) { done.set_value(result.status()); });
  EXPECT_EQ(done.get_future().get().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RemoteBlockTest, AnAnswerOfAnotherShapeIsInternal) {
  server_.service().infer = [](const auto& message, auto& response) {
    grpc::Status status = FakeService::Double(message, response);
    response.mutable_outputs(0)->set_shape(0, 3);
    response.mutable_outputs(0)->set_shape(1, 1);
    return status;
  };
  const std::vector<float> row(3);
  const absl::Status status = Open().value().Infer(row, Soon()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("expected FP32 [1,3], found FP32 [3,1]"));
}

TEST_F(RemoteBlockTest, InferAllReturnsTheRowsInOrderWhateverTheRequestSize) {
  std::vector<float> rows(99);
  std::iota(rows.begin(), rows.end(), 0.0f);
  std::vector<float> expected(rows);
  for (float& value : expected) value *= 2;
  for (const int64_t step : {1, 4, 7, 33, 100}) {
    const InferAllOptions options{
        .rows_per_request = step, .in_flight = 8, .deadline = std::chrono::seconds(20)};
    server_.service().calls = 0;
    EXPECT_EQ(InferAll(Open().value(), rows, options).value(), expected);
    EXPECT_EQ(server_.service().calls, (33 + step - 1) / step);
  }
}

TEST_F(RemoteBlockTest, InferAllTakesMaxRowsUnlessToldOtherwise) {
  const std::vector<float> rows(30);  // ten
  ASSERT_TRUE(InferAll(Open().value(), rows, {.deadline = std::chrono::seconds(20)}).ok());
  EXPECT_EQ(server_.service().calls, 3);  // of 4, 4 and 2 rows
}

TEST_F(RemoteBlockTest, InferAllKeepsToItsRequestsInFlight) {
  const std::vector<float> rows(180);  // sixty
  for (const int in_flight : {1, 3}) {
    server_.service().most_at_once = 0;
    ASSERT_TRUE(
        InferAll(
            Open().value(), rows,
            {.rows_per_request = 1, .in_flight = in_flight, .deadline = std::chrono::seconds(20)})
            .ok());
    EXPECT_LE(server_.service().most_at_once, in_flight);
  }
}

TEST_F(RemoteBlockTest, InferAllStopsAtTheFirstErrorAndNamesTheRows) {
  server_.service().infer = [](const auto& message, auto& response) {
    const std::vector<float> values =
        ToFloats({ElementType::kFp32, {}, message.raw_input_contents(0)});
    if (values[0] == 15) {
      return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "queue full");
    }
    return FakeService::Double(message, response);
  };
  std::vector<float> rows(3000);
  std::iota(rows.begin(), rows.end(), 0.0f);
  const absl::Status status =
      InferAll(Open().value(), rows,
               {.rows_per_request = 1, .in_flight = 2, .deadline = std::chrono::seconds(20)})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "rows 5 to 5: queue full");
  EXPECT_LT(server_.service().calls, 20);
}

TEST_F(RemoteBlockTest, InferAllReportsProgressWhileItWaits) {
  std::promise<void> answer;
  const std::shared_future<void> answered = answer.get_future().share();
  server_.service().infer = [&](const auto& message, auto& response) {
    answered.wait();
    return FakeService::Double(message, response);
  };
  std::vector<int64_t> reported;
  const std::vector<float> rows(3);
  ASSERT_TRUE(InferAll(Open().value(), rows,
                       {.deadline = std::chrono::seconds(20),
                        .on_progress =
                            [&](int64_t done) {
                              reported.push_back(done);
                              // The first comes before the request is sent.
                              if (reported.size() == 2) answer.set_value();
                            }})
                  .ok());
  ASSERT_GE(reported.size(), 3u);
  EXPECT_EQ(reported[1], 0);
  EXPECT_EQ(reported.back(), 1);
}

TEST_F(RemoteBlockTest, InferAllRefusesWrongOptionsAndRows) {
  const std::vector<float> rows(3);
  const auto code = [&](std::span<const float> values, InferAllOptions options) {
    options.deadline = std::chrono::seconds(20);
    return InferAll(Open().value(), values, options).status().code();
  };
  EXPECT_EQ(code(rows, {.in_flight = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(rows, {.rows_per_request = -1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::span(rows).first(2), {}), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mlpserve::client
