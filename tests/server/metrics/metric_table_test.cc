#include "server/metrics/metric_table.h"

#include <set>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

template <typename Check>
void ForEachMetric(Check check) {
  for (size_t i = 0; i < kMetricCount; ++i) check(Info(static_cast<MetricId>(i)));
}

TEST(MetricTable, NamesEachMetricOnce) {
  std::set<std::string> names;
  ForEachMetric([&](const MetricInfo& info) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name << " stands twice";
  });
}

TEST(MetricTable, FollowsPrometheusNaming) {
  ForEachMetric([](const MetricInfo& info) {
    const std::string_view name = info.name;
    EXPECT_NE(std::string_view(info.help), "") << name;
    if (name.starts_with("nv_")) return;
    EXPECT_TRUE(name.starts_with("mlpserve_") || name.starts_with("process_")) << name;
    EXPECT_EQ(name.ends_with("_total"), info.type == prometheus::MetricType::Counter) << name;
  });
}

TEST(MetricTable, GivesBucketsToHistogramsAndNothingElse) {
  ForEachMetric([](const MetricInfo& info) {
    EXPECT_EQ(info.buckets.bounds.empty(), info.type != prometheus::MetricType::Histogram)
        << info.name;
    for (size_t i = 1; i < info.buckets.bounds.size(); ++i) {
      EXPECT_LT(info.buckets.bounds[i - 1], info.buckets.bounds[i]) << info.name;
    }
  });
}

TEST(MetricTable, DurationsGoFrom20MicrosecondsTo10SecondsIn1Point8Steps) {
  EXPECT_EQ(kDurationBoundsNs.front(), 20'000);
  EXPECT_EQ(kDurationBoundsNs.back(), 10'000'000'000);
  for (size_t i = 1; i < kDurationBoundsNs.size(); ++i) {
    const double step =
        static_cast<double>(kDurationBoundsNs[i]) / static_cast<double>(kDurationBoundsNs[i - 1]);
    EXPECT_GT(step, 1.55) << "at " << kDurationBoundsNs[i];
    EXPECT_LT(step, 1.85) << "at " << kDurationBoundsNs[i];
  }
}

}  // namespace
}  // namespace mlpserve
