#include "client/load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace mlpserve::load {
namespace {

using std::chrono::nanoseconds;

TEST(HistogramTest, AnEmptyOneSaysZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.min(), nanoseconds(0));
  EXPECT_EQ(histogram.max(), nanoseconds(0));
  EXPECT_EQ(histogram.mean(), nanoseconds(0));
  EXPECT_EQ(histogram.Percentile(99), nanoseconds(0));
  EXPECT_TRUE(histogram.Buckets().empty());
}

TEST(HistogramTest, SmallValuesAreExact) {
  Histogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Record(nanoseconds(i));
  EXPECT_EQ(histogram.Percentile(50), nanoseconds(500));
  EXPECT_EQ(histogram.Percentile(99), nanoseconds(990));
  EXPECT_EQ(histogram.Percentile(99.9), nanoseconds(999));
  EXPECT_EQ(histogram.Percentile(100), nanoseconds(1000));
  EXPECT_EQ(histogram.Percentile(0), nanoseconds(1));
  EXPECT_EQ(histogram.mean(), nanoseconds(501));  // 500.5, rounded
}

TEST(HistogramTest, TheExtremesHaveAPlace) {
  Histogram histogram;
  histogram.Record(nanoseconds(-5));
  histogram.Record(nanoseconds::max());
  EXPECT_EQ(histogram.min(), nanoseconds(0));
  EXPECT_EQ(histogram.max(), nanoseconds::max());
  EXPECT_EQ(histogram.Percentile(50), nanoseconds(0));
  EXPECT_EQ(histogram.Percentile(100), nanoseconds::max());
}

TEST(HistogramTest, EveryBucketHoldsWhatIsRecordedIntoIt) {
  for (int shift = 0; shift < 62; ++shift) {
    for (const int64_t offset : {-1, 0, 1, 3}) {
      const int64_t value = std::max<int64_t>(0, (int64_t{1} << shift) + offset);
      Histogram histogram;
      histogram.Record(nanoseconds(value));
      const auto buckets = histogram.Buckets();
      ASSERT_EQ(buckets.size(), 1U);
      EXPECT_GE(buckets[0].upper.count(), value);
      EXPECT_LE(static_cast<double>(buckets[0].upper.count() - value),
                static_cast<double>(value) / 512);
      EXPECT_EQ(histogram.Percentile(50), nanoseconds(value)) << "never beyond the greatest";
    }
  }
}

TEST(HistogramTest, PercentilesAgreeWithSortingWithinTheBucket) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(13, 1.5);
  std::vector<int64_t> values(100'000);
  Histogram halves[2];
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<int64_t>(latency(random));
    halves[i % 2].Record(nanoseconds(values[i]));
  }
  halves[0].Merge(halves[1]);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(halves[0].count(), values.size());
  EXPECT_EQ(halves[0].min().count(), values.front());
  EXPECT_EQ(halves[0].max().count(), values.back());
  for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    const auto rank = static_cast<size_t>(std::lround(percent * 1000));
    const auto exact = static_cast<double>(values[rank - 1]);
    const auto found = static_cast<double>(halves[0].Percentile(percent).count());
    EXPECT_GE(found, exact);
    EXPECT_LE(found, exact * (1 + 1.0 / 512)) << percent;
  }
}

}  // namespace
}  // namespace mlpserve::load
