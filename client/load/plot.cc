#include "client/load/plot.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/load/numbers.h"
#include "client/load/svg.h"

namespace mlpserve::load {
namespace {

struct Percentile {
  double percent;
  const char* name;
  LineStyle style;
};
constexpr Percentile kPercentiles[] = {{50, "p50", LineStyle::kFaint},
                                       {90, "p90", LineStyle::kMiddle},
                                       {99, "p99", LineStyle::kStrong},
                                       {99.9, "p99.9", LineStyle::kAccent}};

using Results = std::vector<const Result*>;

double Milliseconds(std::chrono::nanoseconds time) {
  return std::max(1e-3, static_cast<double>(time.count()) / 1e6);
}

// The quantity that differs between the points of a panel.
enum class Swept : uint8_t { kConcurrency, kRate, kRows };

double LoadOf(const Result& result, Swept swept) {
  if (swept == Swept::kRows) return static_cast<double>(result.point.rows);
  return swept == Swept::kRate ? result.point.rate : result.point.concurrency;
}

const char* Name(Swept swept) {
  constexpr const char* kNames[] = {"requests in flight", "requests/s offered", "rows a request"};
  return kNames[static_cast<size_t>(swept)];
}

std::vector<double> Loads(const Results& results, Swept swept) {
  std::vector<double> loads;
  for (const Result* result : results) loads.push_back(LoadOf(*result, swept));
  return loads;
}

Panel LatencyPanel(const Results& results, Swept swept, const std::string& about) {
  Panel panel{absl::StrCat("Latency, ms", about), Name(swept), OverPoints(Loads(results, swept))};
  std::vector<double> values;
  for (const Percentile& percentile : kPercentiles) {
    Line line{percentile.name, percentile.style};
    for (const Result* result : results) {
      if (result->succeeded() == 0) continue;
      values.push_back(Milliseconds(result->latency.Percentile(percentile.percent)));
      line.points.push_back({LoadOf(*result, swept), values.back()});
    }
    panel.lines.push_back(std::move(line));
  }
  panel.y = Logarithmic(values);
  return panel;
}

Panel ThroughputPanel(const Results& results, Swept swept, const std::string& about) {
  const bool rows = swept == Swept::kRows;
  Panel panel{absl::StrCat("Throughput, ", rows ? "rows/s" : "requests/s", about), Name(swept),
              OverPoints(Loads(results, swept))};
  Line answered{"answered", LineStyle::kStrong, {}, /*filled=*/true};
  Line offered{"offered", LineStyle::kDashed, {}, false, /*dots=*/false};
  std::vector<double> values;
  for (const Result* result : results) {
    const double rate = rows ? result->rows_per_second() : result->requests_per_second();
    answered.points.push_back({LoadOf(*result, swept), rate});
    values.push_back(rate);
    if (swept != Swept::kRate) continue;
    offered.points.push_back({result->point.rate, result->point.rate});
    values.push_back(result->point.rate);
  }
  panel.y = LinearFromZero(values);
  if (!offered.points.empty()) panel.lines.push_back(std::move(offered));
  panel.lines.push_back(std::move(answered));
  return panel;
}

// Latency over the part of the requests that took longer, so that each nine is equally wide.
Panel DistributionPanel(const Result& result) {
  Panel panel{
      "Latency, ms, of all but the slowest", "percentile", {.low = 0, .high = 4}, {}, {}, {}};
  panel.x.ticks = {0, 1, 2, 3, 4};
  panel.x_names = {"0", "90", "99", "99.9", "99.99"};
  Line line{"", LineStyle::kStrong, {}, /*filled=*/true, /*dots=*/false};
  std::vector<double> values;
  for (int i = 0; i <= 160; ++i) {
    const double nines = i / 40.0;
    const double part = std::pow(10, -nines);
    // Fewer than one request is above: nothing is known there.
    if (part * static_cast<double>(result.succeeded()) < 1) break;
    values.push_back(Milliseconds(result.latency.Percentile(100 * (1 - part))));
    line.points.push_back({nines, values.back()});
  }
  panel.y = Logarithmic(values);
  panel.lines.push_back(std::move(line));
  return panel;
}

std::string Subtitle(const Report& report) {
  std::string text = report.date.substr(0, 10);
  if (report.results.empty()) return text;
  const Result& first = report.results.front();
  if (report.results.size() == 1) {
    return absl::StrCat(text, " · ", Describe(first.point), " · ",
                        WithCommas(first.requests_per_second()), " requests/s");
  }
  if (!first.point.open()) return absl::StrCat(text, " · closed loop");
  const bool constant = report.arrivals == ArrivalKind::kConstant;
  return absl::StrCat(text, " · open loop, ", constant ? "constant" : "Poisson",
                      " arrivals, latency from the intended time of sending");
}

// The results by load. Where a load was measured twice, as a search does, the last one counts.
Results Ascending(const Results& results, Swept swept) {
  std::map<double, const Result*> by_load;
  for (const Result* result : results) by_load[LoadOf(*result, swept)] = result;
  Results ascending;
  for (const auto& [load, result] : by_load) ascending.push_back(result);
  return ascending;
}

std::string About(int64_t rows) {
  return absl::StrCat(" · ", rows, rows == 1 ? " row a request" : " rows a request");
}

void AddPanels(const Results& results, Swept swept, const std::string& about, Plot& plot) {
  const Results ascending = Ascending(results, swept);
  plot.rows.push_back(
      {LatencyPanel(ascending, swept, about), ThroughputPanel(ascending, swept, about)});
}

}  // namespace

std::string Svg(const Report& report) {
  Plot plot{report.title, Subtitle(report), {}};
  const Swept load = !report.results.empty() && report.results.front().point.open()
                         ? Swept::kRate
                         : Swept::kConcurrency;
  std::map<int64_t, Results> by_rows;
  std::set<double> loads;
  for (const Result& result : report.results) {
    by_rows[result.point.rows].push_back(&result);
    loads.insert(LoadOf(result, load));
  }
  if (report.results.size() == 1) {
    plot.rows.push_back({DistributionPanel(report.results.front())});
  } else if (loads.size() == 1 && by_rows.size() > 1) {
    Results all;
    for (const Result& result : report.results) all.push_back(&result);
    AddPanels(all, Swept::kRows, "", plot);
  } else {
    for (const auto& [rows, results] : by_rows) AddPanels(results, load, About(rows), plot);
  }
  return Draw(plot);
}

}  // namespace mlpserve::load
