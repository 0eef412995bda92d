// Reads histograms out of Prometheus's text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace mlpserve::demo {

struct Histogram {
  struct Bucket {
    double upper = 0;  // the last one's is infinity
    double count = 0;  // of values <= upper
  };

  std::vector<Bucket> buckets;  // ascending
  double sum = 0;
  double count = 0;

  double mean() const { return count > 0 ? sum / count : 0; }
};

// The histogram `name` of the block `model`, its series added up. None: there is no such series.
std::optional<Histogram> FindHistogram(std::string_view text, std::string_view name,
                                       std::string_view model);

// As PromQL's histogram_quantile: linear within a bucket, the highest finite bound above that.
// 0 <= q <= 1; 0 for an empty histogram.
double Quantile(const Histogram& histogram, double q);

}  // namespace mlpserve::demo
