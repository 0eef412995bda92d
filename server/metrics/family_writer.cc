#include "server/metrics/family_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace mlpserve {

MetricLabels BlockLabels(const std::string& model, int64_t version) {
  return {{"model", model}, {"version", version == 0 ? "" : std::to_string(version)}};
}

MetricLabels With(MetricLabels labels, const std::string& name, std::string value) {
  labels.push_back({name, std::move(value)});
  return labels;
}

prometheus::ClientMetric& FamilyWriter::Append(MetricId id, MetricLabels labels) {
  prometheus::ClientMetric& metric = series_[static_cast<size_t>(id)].emplace_back();
  metric.label = std::move(labels);
  return metric;
}

void FamilyWriter::Add(MetricId id, MetricLabels labels, double value) {
  prometheus::ClientMetric& metric = Append(id, std::move(labels));
  if (Info(id).type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
}

void FamilyWriter::AddHistogram(MetricId id, MetricLabels labels, std::span<const uint64_t> counts,
                                uint64_t sum) {
  const HistogramBuckets& buckets = Info(id).buckets;
  prometheus::ClientMetric::Histogram& histogram = Append(id, std::move(labels)).histogram;
  uint64_t below = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    below += counts[i];
    // A division, which rounds to the nearest double, so that bounds print as they were written.
    const double bound = i < buckets.bounds.size()
                             ? static_cast<double>(buckets.bounds[i]) / buckets.per_unit
                             : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({below, bound});
  }
  histogram.sample_count = below;
  histogram.sample_sum = static_cast<double>(sum) / buckets.per_unit;
}

std::vector<prometheus::MetricFamily> FamilyWriter::Take() {
  std::vector<prometheus::MetricFamily> families;
  for (size_t i = 0; i < kMetricCount; ++i) {
    if (series_[i].empty()) continue;
    const MetricInfo& info = Info(static_cast<MetricId>(i));
    families.push_back({info.name, info.help, info.type, std::exchange(series_[i], {})});
  }
  std::sort(families.begin(), families.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return families;
}

}  // namespace mlpserve
