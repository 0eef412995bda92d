// Collects the series of one scrape into Prometheus' metric families, by the metric table.
//
// Not thread-safe: one scrape makes one.
#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "server/metrics/metric_table.h"

namespace mlpserve {

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

// The labels of a block's series. Version 0, which is no version, is left empty.
MetricLabels BlockLabels(const std::string& model, int64_t version);
// `labels` and one more.
MetricLabels With(MetricLabels labels, const std::string& name, std::string value);

class FamilyWriter {
 public:
  // A sample of a counter or a gauge.
  void Add(MetricId id, MetricLabels labels, double value);
  // A sample of a histogram: `counts` per bucket, not accumulated, one more than the metric has
  // bounds; `sum` in the buckets' integers.
  void AddHistogram(MetricId id, MetricLabels labels, std::span<const uint64_t> counts,
                    uint64_t sum);

  // The families that have a series, by name.
  std::vector<prometheus::MetricFamily> Take();

 private:
  prometheus::ClientMetric& Append(MetricId id, MetricLabels labels);

  std::array<std::vector<prometheus::ClientMetric>, kMetricCount> series_;
};

}  // namespace mlpserve
