#include "deploy/demo/metrics_text.h"

#include <gtest/gtest.h>

#include <limits>

namespace mlpserve::demo {
namespace {

constexpr char kText[] = R"(# HELP wait_seconds a histogram
# TYPE wait_seconds histogram
wait_seconds_count{model="a",version="1"} 10
wait_seconds_sum{model="a",version="1"} 25
wait_seconds_bucket{model="a",version="1",le="1"} 4
wait_seconds_bucket{model="a",version="1",le="3"} 8
wait_seconds_bucket{model="a",version="1",le="5"} 9
wait_seconds_bucket{model="a",version="1",le="+Inf"} 10
wait_seconds_bucket{model="b",version="1",le="1"} 100
wait_seconds_longer_bucket{model="a",le="1"} 100
wait_seconds_bucket{model="a",version="2",le="1"} 0 1700000000000
wait_seconds_bucket{model="q\"}",version="2",le="1"} 7
wait_seconds_bucket{model="a
)";

TEST(MetricsText, FindsTheBlocksSeriesAndAddsThemUp) {
  const std::optional<Histogram> histogram = FindHistogram(kText, "wait_seconds", "a");
  ASSERT_TRUE(histogram.has_value());
  EXPECT_EQ(histogram->count, 10);
  EXPECT_EQ(histogram->mean(), 2.5);
  ASSERT_EQ(histogram->buckets.size(), 4u);
  EXPECT_EQ(histogram->buckets[0].count, 4);
  EXPECT_EQ(histogram->buckets[3].upper, std::numeric_limits<double>::infinity());
  EXPECT_EQ(FindHistogram(kText, "wait_seconds", "q\\\"}")->buckets[0].count, 7);
}

TEST(MetricsText, AnUnknownMetricOrBlockIsNone) {
  EXPECT_FALSE(FindHistogram(kText, "wait", "a").has_value());
  EXPECT_FALSE(FindHistogram(kText, "wait_seconds", "c").has_value());
  EXPECT_FALSE(FindHistogram("", "wait_seconds", "a").has_value());
}

TEST(MetricsText, QuantilesAreLinearWithinABucket) {
  const Histogram histogram = *FindHistogram(kText, "wait_seconds", "a");
  EXPECT_DOUBLE_EQ(Quantile(histogram, 0.2), 0.5);
  EXPECT_DOUBLE_EQ(Quantile(histogram, 0.6), 2);
  EXPECT_DOUBLE_EQ(Quantile(histogram, 0.8), 3);
  EXPECT_DOUBLE_EQ(Quantile(histogram, 0.85), 4);
  EXPECT_DOUBLE_EQ(Quantile(histogram, 0.99), 5);  // beyond the last finite bound
}

TEST(MetricsText, AnEmptyHistogramHasNoQuantile) {
  EXPECT_EQ(Quantile({}, 0.5), 0);
  EXPECT_EQ(Quantile({.buckets = {{1, 0}, {2, 0}}}, 0.5), 0);
  EXPECT_EQ(Histogram{}.mean(), 0);
}

}  // namespace
}  // namespace mlpserve::demo
