#include "deploy/demo/metrics_text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <string>

namespace mlpserve::demo {
namespace {

std::optional<double> ParseValue(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Sample {
  std::string_view name;
  std::map<std::string_view, std::string_view> labels;  // escapes are left as they are
  double value = 0;
};

// `line` is NAME{LABEL="VALUE",...} NUMBER [TIME].
std::optional<Sample> ParseSample(std::string_view line) {
  Sample sample;
  const size_t open = line.find('{');
  if (line.empty() || line.front() == '#' || open == std::string_view::npos) return std::nullopt;
  sample.name = line.substr(0, open);
  line.remove_prefix(open + 1);
  while (!line.empty() && line.front() != '}') {
    const size_t equals = line.find("=\"");
    if (equals == std::string_view::npos) return std::nullopt;
    size_t end = equals + 2;
    while (end < line.size() && line[end] != '"') end += line[end] == '\\' ? 2 : 1;
    if (end >= line.size()) return std::nullopt;
    sample.labels[line.substr(0, equals)] = line.substr(equals + 2, end - equals - 2);
    line.remove_prefix(end + 1);
    if (!line.empty() && line.front() == ',') line.remove_prefix(1);
  }
  if (line.substr(0, 2) != "} ") return std::nullopt;
  line.remove_prefix(2);
  const std::optional<double> value = ParseValue(line.substr(0, line.find(' ')));
  if (!value) return std::nullopt;
  sample.value = *value;
  return sample;
}

std::string_view LabelOf(const Sample& sample, std::string_view label) {
  const auto found = sample.labels.find(label);
  return found == sample.labels.end() ? std::string_view() : found->second;
}

}  // namespace

std::optional<Histogram> FindHistogram(std::string_view text, std::string_view name,
                                       std::string_view model) {
  Histogram histogram;
  std::map<double, double> buckets;
  bool found = false;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.substr(0, name.size()) != name) continue;
    const std::optional<Sample> sample = ParseSample(line);
    if (!sample || LabelOf(*sample, "model") != model) continue;
    const std::string_view part = sample->name.substr(name.size());
    if (part == "_sum") histogram.sum += sample->value;
    if (part == "_count") histogram.count += sample->value;
    if (part != "_bucket") continue;
    if (const std::optional<double> upper = ParseValue(LabelOf(*sample, "le"))) {
      buckets[*upper] += sample->value;
      found = true;
    }
  }
  if (!found) return std::nullopt;
  for (const auto& [upper, count] : buckets) histogram.buckets.push_back({upper, count});
  return histogram;
}

double Quantile(const Histogram& histogram, double q) {
  if (histogram.buckets.empty() || histogram.buckets.back().count <= 0) return 0;
  const double rank = q * histogram.buckets.back().count;
  Histogram::Bucket below;
  for (const Histogram::Bucket& bucket : histogram.buckets) {
    if (bucket.count >= rank && bucket.count > below.count) {
      if (bucket.upper == std::numeric_limits<double>::infinity()) return below.upper;
      const double share = (rank - below.count) / (bucket.count - below.count);
      return below.upper + (bucket.upper - below.upper) * share;
    }
    below = bucket;
  }
  return below.upper;
}

}  // namespace mlpserve::demo
