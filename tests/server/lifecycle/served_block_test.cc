#include "server/lifecycle/served_block.h"

#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/engine/fake_backend.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
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

LoadOptions Load() { return {.max_rows = 2, .slots = 2, .outputs = 2, .buckets = {}}; }

TEST(ServedBlockTest, ARequestGoesThroughTheBatcherToTheBlockAndBack) {
  FakeBackend backend({});
  auto metrics = std::make_shared<BlockMetrics>("fake", 1);
  auto served = ServedBlock::Create(backend, TwoToThree(), Load(), {.max_rows = 2}, metrics);
  ASSERT_TRUE(served.ok()) << served.status();
  const std::shared_ptr<InferSink> sink = ServedBlock::Sink(*served);
  Request request({1, 2, 3, 4, 5, 6});
  sink->Submit(request);
  (*served)->Drain();
  EXPECT_TRUE(request.status.ok()) << request.status;
  EXPECT_THAT(request.result, ElementsAre(-1, -2, -1, -3, -4, -3, -5, -6, -5));
  EXPECT_EQ(metrics->Statistics().execution_count, 2u);
  EXPECT_EQ((*served)->stats().slots, 2);
}

TEST(ServedBlockTest, TheSinkKeepsTheBlock) {
  FakeBackend backend({});
  auto served = ServedBlock::Create(backend, TwoToThree(), Load(), {.max_rows = 2}, nullptr);
  ASSERT_TRUE(served.ok());
  const std::shared_ptr<InferSink> sink = ServedBlock::Sink(*served);
  served->reset();
  Request request({1, 2});
  sink->Submit(request);
  EXPECT_THAT(request.result, ElementsAre(-1, -2, -1));
}

TEST(ServedBlockTest, AFailedLoadIsReported) {
  FakeBackend backend({});
  backend.FailLoads(absl::ResourceExhaustedError("memory"));
  EXPECT_EQ(ServedBlock::Create(backend, TwoToThree(), Load(), {.max_rows = 2}, nullptr).status(),
            absl::ResourceExhaustedError("memory"));
}

TEST(ServedBlockTest, SlotsOfAnotherSizeThanTheBatchesAreRefused) {
  FakeBackend backend({});
  EXPECT_EQ(
      ServedBlock::Create(backend, TwoToThree(), Load(), {.max_rows = 3}, nullptr).status().code(),
      absl::StatusCode::kInvalidArgument);
}

TEST(ServedBlockTest, BadBatchingOptionsAreReported) {
  FakeBackend backend({});
  EXPECT_EQ(ServedBlock::Create(backend, TwoToThree(), Load(),
                                {.max_rows = 2, .max_queued_rows = 0}, nullptr)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ServedBlockTest, EveryBatchingFieldOfTheConfigurationArrives) {
  BatchingConfig config;
  config.max_rows = 11;
  config.max_queue_delay_us = 12;
  config.max_queued_rows = 13;
  config.max_queued_bytes = 14;
  config.queue_timeout_us = 15;
  config.priority_levels = 3;
  config.default_priority = 2;
  const BatchingOptions options = BatchingOptionsOf(config, true);
  EXPECT_EQ(options.max_rows, 11);
  EXPECT_EQ(options.max_queue_delay, microseconds(12));
  EXPECT_EQ(options.max_queued_rows, 13);
  EXPECT_EQ(options.max_queued_bytes, 14);
  EXPECT_EQ(options.queue_timeout, microseconds(15));
  EXPECT_EQ(options.priority_levels, 3);
  EXPECT_EQ(options.default_priority, 2);
  EXPECT_TRUE(options.one_request_per_batch);
  EXPECT_FALSE(BatchingOptionsOf(config, false).one_request_per_batch);
}

}  // namespace
}  // namespace mlpserve
