#include "server/engine/completion_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

namespace mlpserve {
namespace {

using namespace std::chrono_literals;

// Ends when it is told to; may be started again.
class FakeBatch final : public CompletionWatch::Batch {
 public:
  void Start(CompletionWatch& watch) {
    ended_ = false;
    started_ = Clock::now();
    watch.Add(*this);
  }
  void End() { ended_ = true; }

  bool Look(TimePoint /*now*/) override {
    ++looks;
    return ended_ || says_more;
  }
  bool Tell() override {
    if (says_more.exchange(false)) {
      ++more;
      return true;
    }
    if (on_end) on_end();
    ++ends;
    return false;
  }
  TimePoint started() const override { return started_; }

  std::function<void()> on_end;  // before it counts
  std::atomic<bool> says_more{false};
  std::atomic<int> looks{0}, more{0}, ends{0};

 private:
  std::atomic<bool> ended_{false};
  TimePoint started_;
};

void WaitUntil(const std::function<bool()>& holds) {
  const TimePoint deadline = Clock::now() + 10s;
  while (!holds()) {
    ASSERT_LT(Clock::now(), deadline);
    std::this_thread::yield();
  }
}

TEST(CompletionWatchTest, TheEndOfABatchIsToldOnce) {
  FakeBatch batch;
  CompletionWatch watch(2);
  batch.Start(watch);
  WaitUntil([&] { return batch.looks > 3; });
  EXPECT_EQ(batch.ends, 0);
  batch.End();
  WaitUntil([&] { return batch.ends == 1; });
  const int looks = batch.looks;
  std::this_thread::sleep_for(1ms);
  EXPECT_EQ(batch.looks, looks) << "it is nobody's any more";
}

TEST(CompletionWatchTest, ABatchThatHasMoreToTellIsWatchedOn) {
  FakeBatch batch;
  CompletionWatch watch(1);
  batch.says_more = true;
  batch.Start(watch);
  WaitUntil([&] { return batch.more == 1; });
  EXPECT_EQ(batch.ends, 0);
  batch.End();
  WaitUntil([&] { return batch.ends == 1; });
}

TEST(CompletionWatchTest, AThreadThatTellsForLongHoldsUpNoOtherBatch) {
  FakeBatch slow, quick;
  std::atomic<bool> release{false};
  slow.on_end = [&] { WaitUntil([&] { return release.load(); }); };
  CompletionWatch watch(2);
  slow.Start(watch);
  slow.End();
  quick.Start(watch);
  quick.End();
  WaitUntil([&] { return quick.ends == 1; });
  EXPECT_EQ(slow.ends, 0);
  release = true;
  WaitUntil([&] { return slow.ends == 1; });
}

TEST(CompletionWatchTest, ABatchMayStartTheNextOneWhileItsEndIsTold) {
  FakeBatch batch;
  CompletionWatch watch(2);
  constexpr int kRounds = 1000;
  std::atomic<int> rounds{0};
  batch.on_end = [&] {
    if (++rounds == kRounds) return;
    batch.Start(watch);
    batch.End();
  };
  batch.Start(watch);
  batch.End();
  WaitUntil([&] { return rounds == kRounds && batch.ends == kRounds; });
}

TEST(CompletionWatchTest, AWatchThatSleepsIsWokenByTheNextBatch) {
  FakeBatch batch;
  CompletionWatch watch(2);
  for (int i = 1; i <= 3; ++i) {
    std::this_thread::sleep_for(10 * CompletionWatch::kLinger);
    batch.Start(watch);
    batch.End();
    WaitUntil([&] { return batch.ends == i; });
  }
}

TEST(CompletionWatchTest, ManyBatchesFromManyThreadsAllEnd) {
  CompletionWatch watch(3);
  std::deque<FakeBatch> batches(16);
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 1; round <= 200; ++round) {
        for (size_t i = t; i < batches.size(); i += 4) {
          batches[i].Start(watch);
          if (i % 2 == 0) batches[i].says_more = true;
          batches[i].End();
        }
        for (size_t i = t; i < batches.size(); i += 4) {
          WaitUntil([&] { return batches[i].ends == round; });
        }
      }
    });
  }
  threads.clear();
  for (const FakeBatch& batch : batches) EXPECT_EQ(batch.ends, 200);
}

TEST(CompletionWatchTest, AWatchWithoutBatchesEnds) {
  for (int i = 0; i < 50; ++i) CompletionWatch watch(1 + i % 3);
}

}  // namespace
}  // namespace mlpserve
