// Eight producers, cancellations and expiring deadlines: every request is answered exactly once,
// and whatever is answered with OK is its own rows. Run under ThreadSanitizer too.
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "server/batching/batcher.h"
#include "tests/server/batching/test_request.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;

constexpr int kProducers = 8;
constexpr int kRequests = 1'500;  // of each producer
constexpr size_t kInFlight = 16;  // of each producer, at most

struct Tally {
  std::atomic<int64_t> submitted{0}, answered{0}, served{0}, refused{0}, expired{0}, cancelled{0},
      failed{0}, foreign{0};

  void Count(const TestRequest& request) {
    ++answered;
    switch (request.status.code()) {
      case absl::StatusCode::kOk:
        ++served;
        if (!request.own_rows) ++foreign;
        break;
      case absl::StatusCode::kResourceExhausted:
        ++refused;
        break;
      case absl::StatusCode::kDeadlineExceeded:
        ++expired;
        break;
      case absl::StatusCode::kCancelled:
        ++cancelled;
        break;
      default:
        ++failed;
    }
  }
};

// Each request is cancelled, or its time is up, at a moment that may be any of its life: before it
// is queued, in the queue, in a slot, while it runs, or when it is done.
void ProduceWhatLeaves(Batcher& batcher, Tally& tally, int requests, unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  std::deque<std::unique_ptr<TestRequest>> mine;
  const auto end_first = [&] {
    if (below(2) == 0) batcher.Cancel(*mine.front());
    ASSERT_TRUE(mine.front()->WaitUntilDone());
    tally.Count(*mine.front());
    mine.pop_front();
  };
  for (int i = 0; i < requests; ++i) {
    auto request = std::make_unique<TestRequest>(1 + below(below(16) == 0 ? 40 : 4), below(1000));
    request->priority = below(4);
    if (below(2) == 0) request->deadline = Clock::now() + microseconds(below(1000));
    if (below(4) == 0) request->queue_timeout = microseconds(1 + below(1000));
    ++tally.submitted;
    mine.push_back(std::move(request));
    batcher.Submit(*mine.back());
    if (below(4) == 0) batcher.Cancel(*mine[static_cast<size_t>(below(mine.size()))]);
    while (mine.size() > static_cast<size_t>(below(kInFlight))) end_first();
  }
  while (!mine.empty()) end_first();
}

void Produce(Batcher& batcher, Tally& tally, unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  std::vector<std::unique_ptr<TestRequest>> mine;
  for (int i = 0; i < kRequests; ++i) {
    auto request = std::make_unique<TestRequest>(1 + below(below(8) == 0 ? 60 : 6), below(1000));
    request->priority = below(4);
    if (below(4) == 0) request->deadline = Clock::now() + microseconds(below(400));
    if (below(4) == 0) request->queue_timeout = microseconds(1 + below(400));
    request->keep_outputs = below(4) == 0;  // a slow reader
    ++tally.submitted;
    mine.push_back(std::move(request));
    batcher.Submit(*mine.back());
    if (below(4) == 0) batcher.Cancel(*mine[static_cast<size_t>(below(mine.size()))]);
    while (mine.size() > kInFlight) {
      const auto at = static_cast<size_t>(below(mine.size()));
      if (below(2) == 0) batcher.Cancel(*mine[at]);
      ASSERT_TRUE(mine[at]->WaitUntilDone());
      tally.Count(*mine[at]);
      mine.erase(mine.begin() + static_cast<long>(at));
    }
  }
  for (const auto& request : mine) {
    ASSERT_TRUE(request->WaitUntilDone());
    tally.Count(*request);
  }
}

void Stress(const FakeBackend::Options& fake, const BatchingOptions& options) {
  Tally tally;
  Served served(fake, options);
  std::atomic<bool> stop{false};
  std::thread scraper([&] {
    for (bool fail = false; !stop; fail = !fail) {
      const QueueState stats = served.batcher->stats();
      EXPECT_LE(stats.queued_rows, stats.queued_rows_limit);
      EXPECT_LE(stats.slots_in_use, stats.slots);
      served.backend.FailRuns(fail ? absl::InternalError("now and then") : absl::OkStatus());
      std::this_thread::sleep_for(fail ? microseconds(50) : microseconds(2000));
    }
  });
  std::vector<std::thread> producers;
  for (unsigned i = 0; i < kProducers; ++i) {
    producers.emplace_back([&, i] { Produce(*served.batcher, tally, 100 + i); });
  }
  for (std::thread& producer : producers) producer.join();
  stop = true;
  scraper.join();
  served.batcher->Drain();
  EXPECT_EQ(tally.submitted, kProducers * kRequests);
  EXPECT_EQ(tally.answered, tally.submitted);
  EXPECT_EQ(tally.foreign, 0);
  EXPECT_GT(tally.served, 0);  // how many depends on the machine: what would be late is refused
  const QueueState stats = served.batcher->stats();
  EXPECT_EQ(stats.queued_rows, 0);
  EXPECT_EQ(stats.slots_in_use, 0);
  EXPECT_EQ(stats.copied_bytes, 0);
  testing::Test::RecordProperty("served", static_cast<int>(tally.served));
  testing::Test::RecordProperty("refused", static_cast<int>(tally.refused));
  testing::Test::RecordProperty("expired", static_cast<int>(tally.expired));
  testing::Test::RecordProperty("cancelled", static_cast<int>(tally.cancelled));
  testing::Test::RecordProperty("failed", static_cast<int>(tally.failed));
}

BatchingOptions StressOptions() {
  return {.max_rows = 16,
          .max_queued_rows = 200,
          .queue_timeout = microseconds(5000),
          .priority_levels = 3,
          .help_limit = microseconds(200)};
}

TEST(BatcherStressTest, AnInlineBackendWithOneLane) {
  Stress({.mode = FakeMode::kInline, .run_time = microseconds(20)}, StressOptions());
}

TEST(BatcherStressTest, AnInlineBackendWithTwoLanesAndAQueueDelay) {
  BatchingOptions options = StressOptions();
  options.max_queue_delay = microseconds(100);
  Stress({.mode = FakeMode::kInline, .lanes = 2, .outputs = 3, .run_time = microseconds(20)},
         options);
}

TEST(BatcherStressTest, AnAsynchronousBackendWithThreeLanes) {
  Stress({.mode = FakeMode::kThreads,
          .lanes = 3,
          .slots = 5,
          .outputs = 6,
          .run_time = microseconds(50)},
         StressOptions());
}

TEST(BatcherStressTest, AnAsynchronousBackendThatFreesSlotsEarlyAndGrows) {
  Stress({.mode = FakeMode::kThreads,
          .lanes = 2,
          .slots = 2,
          .outputs = 4,
          .run_time = microseconds(50),
          .reads_early = true,
          .first_rows = 2},
         StressOptions());
}

TEST(BatcherStressTest, AnInlineBackendThatFreesSlotsEarly) {
  Stress({.mode = FakeMode::kInline, .run_time = microseconds(20), .reads_early = true},
         StressOptions());
}

TEST(BatcherStressTest, AnAsynchronousBackendWithOneSlot) {
  Stress({.mode = FakeMode::kThreads, .slots = 1, .outputs = 1}, StressOptions());
}

TEST(BatcherStressTest, BatchStatisticsRequestsAlone) {
  BatchingOptions options = StressOptions();
  options.max_rows = 60;
  options.one_request_per_batch = true;
  Stress({.mode = FakeMode::kThreads, .lanes = 2, .slots = 4}, options);
}

void ExpectNothingIsLostWhenAllLeave(const FakeBackend::Options& fake, int requests) {
  Tally tally;
  Served served(fake, StressOptions());
  std::vector<std::thread> producers;
  for (unsigned i = 0; i < kProducers; ++i) {
    producers.emplace_back(
        [&, i] { ProduceWhatLeaves(*served.batcher, tally, requests / kProducers, 200 + i); });
  }
  for (std::thread& producer : producers) producer.join();
  served.batcher->Drain();
  EXPECT_EQ(tally.submitted, requests);
  EXPECT_EQ(tally.answered, requests);  // and each once: TestRequest sees to that
  EXPECT_EQ(tally.foreign, 0);
  EXPECT_EQ(tally.failed, 0);
  EXPECT_GT(tally.cancelled, requests / 100);
  EXPECT_GT(tally.expired, 0);  // few: most that would be are refused at once
  EXPECT_GT(tally.served, 0);
  const QueueState stats = served.batcher->stats();
  EXPECT_EQ(stats.pending_requests, 0);
  EXPECT_EQ(stats.queued_rows, 0);
  EXPECT_EQ(stats.slots_in_use, 0);
  TestRequest after(40, 7);
  served.batcher->Submit(after);
  ASSERT_TRUE(after.WaitUntilDone());
  EXPECT_TRUE(after.own_rows);
}

TEST(BatcherStressTest, AHundredThousandRequestsLeaveAtRandomMoments) {
  ExpectNothingIsLostWhenAllLeave(
      {.mode = FakeMode::kThreads, .lanes = 2, .slots = 4, .run_time = microseconds(100)}, 80'000);
  ExpectNothingIsLostWhenAllLeave({.mode = FakeMode::kInline, .run_time = microseconds(50)},
                                  20'000);
}

}  // namespace
}  // namespace mlpserve
