#include "server/status/history.h"

#include <gtest/gtest.h>

#include "server/metrics/metric_table.h"

namespace mlpserve {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

const BlockKey kBlock{"digits", 1};

// `requests` of 2 rows each, all in one bucket of duration.
BlockCounts Counts(uint64_t requests, size_t bucket = 4) {
  BlockCounts counts{.requests = requests,
                     .failures = requests / 10,
                     .rows = 2 * requests,
                     .batches = requests,
                     .computed_rows = 8 * requests};
  counts.durations[bucket] = requests;
  return counts;
}

class HistoryTest : public ::testing::Test {
 protected:
  static History::TimePoint At(seconds time) { return History::TimePoint(time); }

  // A reading each second, `rate` requests a second.
  void Run(int from, int to, uint64_t rate) {
    for (int i = from; i <= to; ++i) {
      total_ += rate;
      history_.Record(At(seconds(i)), {{kBlock, Counts(total_)}});
    }
  }

  History history_;
  uint64_t total_ = 0;
};

TEST_F(HistoryTest, NothingIsKnownBeforeTheFirstReading) {
  const Activity activity = history_.Since(At(seconds(1)), kBlock, Counts(100));
  EXPECT_EQ(activity.requests_per_second, 0);
  EXPECT_EQ(activity.p99, nanoseconds(0));
}

TEST_F(HistoryTest, RatesAreTheDifferenceOverTheTime) {
  history_.Record(At(seconds(0)), {{kBlock, Counts(1000)}});
  const Activity activity = history_.Since(At(seconds(10)), kBlock, Counts(1500));
  EXPECT_DOUBLE_EQ(activity.requests_per_second, 50);
  EXPECT_DOUBLE_EQ(activity.rows_per_second, 100);
  EXPECT_DOUBLE_EQ(activity.failures_per_second, 5);
  EXPECT_DOUBLE_EQ(activity.fill, 0.25);
  EXPECT_GT(activity.p50.count(), static_cast<int64_t>(kDurationBoundsNs[3]));
  EXPECT_LE(activity.p99.count(), static_cast<int64_t>(kDurationBoundsNs[4]));
}

TEST_F(HistoryTest, OnlyTheLastMinuteCounts) {
  Run(0, 300, 1000);
  Run(301, 400, 10);
  const Activity activity = history_.Since(At(seconds(400)), kBlock, Counts(total_));
  EXPECT_NEAR(activity.requests_per_second, 10, 0.1);
}

TEST_F(HistoryTest, AnIdleMinuteIsZero) {
  Run(0, 100, 1000);
  Run(101, 170, 0);
  const Activity activity = history_.Since(At(seconds(170)), kBlock, Counts(total_));
  EXPECT_EQ(activity.requests_per_second, 0);
  EXPECT_EQ(activity.fill, 0);
  EXPECT_EQ(activity.p50, nanoseconds(0));
}

TEST_F(HistoryTest, ABlockThatCameLaterBeganWithZeros) {
  history_.Record(At(seconds(0)), {});
  EXPECT_DOUBLE_EQ(history_.Since(At(seconds(20)), kBlock, Counts(100)).requests_per_second, 5);
}

TEST_F(HistoryTest, CountersThatFellBeganAnew) {
  history_.Record(At(seconds(0)), {{kBlock, Counts(1000)}});
  EXPECT_DOUBLE_EQ(history_.Since(At(seconds(10)), kBlock, Counts(50)).requests_per_second, 5);
}

TEST_F(HistoryTest, NoTimePassed) {
  history_.Record(At(seconds(5)), {{kBlock, Counts(1000)}});
  EXPECT_EQ(history_.Since(At(seconds(5)), kBlock, Counts(2000)).requests_per_second, 0);
}

TEST(QuantileTest, InterpolatesWithinTheBucket) {
  DurationCounts counts{};
  EXPECT_EQ(Quantile(counts, 0.5), nanoseconds(0));
  counts[0] = 100;
  EXPECT_EQ(Quantile(counts, 0.5).count(), kDurationBoundsNs[0] / 2);
  EXPECT_EQ(Quantile(counts, 1).count(), kDurationBoundsNs[0]);
  counts[2] = 100;
  EXPECT_EQ(Quantile(counts, 0.75).count(), (kDurationBoundsNs[1] + kDurationBoundsNs[2]) / 2);
  counts = {};
  counts.back() = 1;
  EXPECT_EQ(Quantile(counts, 0.5), std::chrono::seconds(10)) << "more is not known";
}

TEST(BlockCountsTest, AreTakenFromTheStatistics) {
  BlockMetrics metrics("digits", 1);
  metrics.RecordRequest({.total = milliseconds(1), .rows = 3});
  metrics.RecordFailure(absl::StatusCode::kUnavailable, milliseconds(1));
  metrics.RecordBatch({.rows = 3, .bucket = 8});
  metrics.RecordBatch({.rows = 16, .bucket = 16});
  const BlockCounts counts = BlockCounts::Of(metrics.Statistics());
  EXPECT_EQ(counts.requests, 1U);
  EXPECT_EQ(counts.failures, 1U);
  EXPECT_EQ(counts.rows, 3U);
  EXPECT_EQ(counts.batches, 2U);
  EXPECT_EQ(counts.computed_rows, 24U);
  EXPECT_NEAR(static_cast<double>(Quantile(counts.durations, 0.5).count()), 1e6, 0.2e6);
}

}  // namespace
}  // namespace mlpserve
