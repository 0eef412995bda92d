#include "server/lifecycle/served_block.h"

#include <cstring>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/engine/fake_backend.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;

BlockSpec TwoToThree() {
  BlockSpec spec;
  spec.layers.resize(1);
  spec.layers[0].inputs = 2;
  spec.layers[0].outputs = 3;
  return spec;
}

struct Request final : InferRequest {
  explicit Request(std::vector<float> values) : values_(std::move(values)) {
    rows = static_cast<int64_t>(values_.size()) / 2;
    span_ = std::as_bytes(std::span<const float>(values_));
    input = {&span_, 1};
  }
  void OnDone(absl::Status answer, std::span<OutputRows> outputs) override {
    status = std::move(answer);
    for (const OutputRows& output : outputs) {
      const size_t begin = result.size();
      result.resize(begin + output.bytes.size() / sizeof(float));
      std::memcpy(result.data() + begin, output.bytes.data(), output.bytes.size());
    }
  }
  absl::Status status = absl::UnknownError("not done");
  std::vector<float> result;

 private:
  std::vector<float> values_;
  std::span<const std::byte> span_;
};

class ServedBlockTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<ServedBlock>> Create(
      const BatchingOptions& options, std::shared_ptr<BlockMetrics> metrics = nullptr) {
    return ServedBlock::Create({.backend = backend_,
                                .threads = threads_,
                                .on_lost = [this](const absl::Status& reason) { lost_ = reason; }},
                               TwoToThree(), options, {}, std::move(metrics));
  }

  FakeBackend backend_{{.slots = 2, .outputs = 2}};
  BatchThreads threads_{{.runners = 1}};
  absl::Status lost_;
};

TEST_F(ServedBlockTest, ARequestGoesThroughTheBatcherToTheBlockAndBack) {
  auto metrics = std::make_shared<BlockMetrics>("fake", 1);
  auto served = Create({.max_rows = 2}, metrics);
  ASSERT_TRUE(served.ok()) << served.status();
  const std::shared_ptr<ServedBlock> shared = *std::move(served);
  Request request({1, 2, 3, 4, 5, 6});
  ServedBlock::Sink(shared)->Submit(request);
  shared->Drain();
  EXPECT_TRUE(request.status.ok()) << request.status;
  EXPECT_THAT(request.result, ElementsAre(-1, -2, -1, -3, -4, -3, -5, -6, -5));
  EXPECT_EQ(metrics->Statistics().execution_count, 2u);
  EXPECT_EQ(shared->stats().slots, 2);
}

TEST_F(ServedBlockTest, TheSinkKeepsTheBlock) {
  auto served = Create({.max_rows = 2});
  ASSERT_TRUE(served.ok());
  std::shared_ptr<ServedBlock> shared = *std::move(served);
  const std::shared_ptr<InferSink> sink = ServedBlock::Sink(shared);
  shared.reset();
  Request request({1, 2});
  sink->Submit(request);
  EXPECT_THAT(request.result, ElementsAre(-1, -2, -1));
}

TEST_F(ServedBlockTest, AFailedLoadIsReported) {
  backend_.FailLoads(absl::ResourceExhaustedError("memory"));
  EXPECT_EQ(Create({.max_rows = 2}).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(lost_.ok());
}

TEST_F(ServedBlockTest, ALoadWithoutRoomSaysWhatTheBlockNeeds) {
  backend_.FailLoads(absl::ResourceExhaustedError("for 64 bytes; 8 are free"));
  const std::string reason(Create({.max_rows = 2}).status().message());
  EXPECT_THAT(reason,
              testing::MatchesRegex(
                  "it needs up to [1-9][0-9]* bytes of the host: for 64 bytes; 8 are free"));
}

TEST_F(ServedBlockTest, ALoadThatFindsTheDeviceLostTellsIt) {
  const absl::Status lost = absl::UnavailableError("fell off the bus");
  backend_.FailLoads(lost);
  EXPECT_EQ(Create({.max_rows = 2}).status(), lost);
  EXPECT_EQ(lost_, lost);
}

TEST_F(ServedBlockTest, BadOptionsAreReported) {
  for (const BatchingOptions& bad :
       {BatchingOptions{.max_rows = 0}, BatchingOptions{.max_rows = 2, .max_queued_rows = 0}}) {
    EXPECT_EQ(Create(bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(ServedBlockTest, ALostDeviceIsToldAndItsRequestsAreUnavailable) {
  auto served = Create({.max_rows = 2});
  ASSERT_TRUE(served.ok()) << served.status();
  backend_.Lose(absl::UnavailableError("fell off the bus"));
  Request request({1, 2});
  ServedBlock::Sink(*std::move(served))->Submit(request);
  EXPECT_EQ(request.status, absl::UnavailableError("fell off the bus"));
  EXPECT_EQ(lost_, absl::UnavailableError("fell off the bus"));
}

}  // namespace
}  // namespace mlpserve
