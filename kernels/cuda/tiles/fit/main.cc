// tile_fit RECORDS...: fits the rates of tiles/wgmma_cost.h to recorded runs and prints them, how
// far the estimates are off, and what the few kernels that would be proposed lose to the best.
//
// A record is a line "M N K TYPE VARIANT US": rows, outputs, inputs, bf16, fp16 or tf32, the name
// of a config of the tuning space, and microseconds; a TYPE that ends in "*" is held out of the
// fit. Records of other variants are counted and left out. kernels/results/h200-tiles-*.txt are
// such files; `mlpserve-bench kernels --variants all` measures the same.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/tiles/fit/loss.h"
#include "kernels/cuda/tiles/fit/records.h"
#include "kernels/cuda/tiles/wgmma_cost.h"

namespace mlpserve::cuda {
namespace {

constexpr int kRestarts = 6, kSteps = 2500;

constexpr size_t kCount = std::size(kRateParameters);
using Logs = std::vector<double>;  // of the parameters

WgmmaRates RatesOf(const Logs& logs) {
  WgmmaRates rates;
  for (size_t i = 0; i < kCount; ++i) rates.*kRateParameters[i].value = std::exp(logs[i]);
  return rates;
}

Logs LogsOf(const WgmmaRates& rates) {
  Logs logs;
  for (const RateParameter& p : kRateParameters) logs.push_back(std::log(rates.*p.value));
  return logs;
}

double Loss(const std::vector<const Record*>& records, const Logs& logs) {
  return Loss(records, RatesOf(logs));
}

// Nelder and Mead, "A simplex method for function minimization", 1965.
class Simplex {
 public:
  Simplex(const std::vector<const Record*>& records, const Logs& from, double size)
      : records_(records) {
    corners_.push_back({Loss(records_, from), from});
    for (size_t i = 0; i < kCount; ++i) {
      Logs corner = from;
      corner[i] += size;
      corners_.push_back({Loss(records_, corner), corner});
    }
  }

  Logs Run() {
    for (int step = 0; step < kSteps; ++step) {
      std::ranges::sort(corners_);
      Step();
    }
    std::ranges::sort(corners_);
    return corners_.front().second;
  }

 private:
  using Corner = std::pair<double, Logs>;

  // The worst corner, mirrored at the middle of the others and stretched.
  Corner Mirrored(double stretch) const {
    Logs at(kCount);
    for (size_t i = 0; i < kCount; ++i) {
      double middle = 0;
      for (size_t c = 0; c < kCount; ++c) middle += corners_[c].second[i] / kCount;
      at[i] = middle + stretch * (middle - corners_.back().second[i]);
    }
    return {Loss(records_, at), at};
  }

  void Step() {
    Corner next = Mirrored(1);
    if (next < corners_.front()) {
      const Corner further = Mirrored(2);
      if (further < next) next = further;
    } else if (!(next < corners_[kCount - 1])) {
      next = Mirrored(next < corners_.back() ? 0.5 : -0.5);
      if (!(next < corners_.back())) return Shrink();
    }
    corners_.back() = next;
  }

  void Shrink() {
    for (size_t c = 1; c < corners_.size(); ++c) {
      Logs& at = corners_[c].second;
      for (size_t i = 0; i < kCount; ++i) at[i] = (at[i] + corners_.front().second[i]) / 2;
      corners_[c].first = Loss(records_, at);
    }
  }

  const std::vector<const Record*>& records_;
  std::vector<Corner> corners_;
};

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

void Report(const char* what, const std::vector<Point>& points, bool held_out,
            const WgmmaRates& rates) {
  std::vector<double> errors, losses;
  int within = 0, count = 0;
  for (const Point& point : points) {
    if (point.held_out != held_out) continue;
    ++count;
    for (const Record& r : point.records) errors.push_back(std::abs(LogError(r, rates)));
    losses.push_back(LossOfProposals(point, rates));
    within += losses.back() <= 0.03;
  }
  std::printf(
      "%s: %d points, %zu records; error median %.1f%%, of nine in ten at most %.1f%%; the best of "
      "%d proposals within 3%% of the best at %d, median %.1f%%, worst %.1f%% behind\n",
      what, count, errors.size(), 100 * Quantile(errors, 0.5), 100 * Quantile(errors, 0.9),
      kProposals, within, 100 * Quantile(losses, 0.5), 100 * Quantile(losses, 1));
}

int Run(int argc, char** argv) {
  Records records;
  for (int i = 1; i < argc; ++i) {
    if (records.Read(argv[i])) continue;
    std::fprintf(stderr, "tile_fit: expected a file of records, found %s, which cannot be read\n",
                 argv[i]);
    return 2;
  }
  const std::vector<Point> points = records.Points();
  const std::vector<const Record*> used = ToFit(points);
  if (used.empty()) {
    std::fprintf(stderr, "tile_fit: expected files of records, found none to fit\n");
    return 2;
  }
  Report("as in the tree, fitted", points, false, H200Rates());
  Report("as in the tree, held out", points, true, H200Rates());
  Logs logs = LogsOf(H200Rates());
  double size = 0.4;
  for (int i = 0; i < kRestarts; ++i, size /= 1.5) logs = Simplex(used, logs, size).Run();
  const WgmmaRates rates = RatesOf(logs);
  Report("anew, fitted", points, false, rates);
  Report("anew, held out", points, true, rates);
  std::printf("%d records of other kernels left out\n", records.left_out());
  for (const RateParameter& p : kRateParameters)
    std::printf(".%s = %.4g,\n", p.name, rates.*p.value);
  return 0;
}

}  // namespace
}  // namespace mlpserve::cuda

int main(int argc, char** argv) { return mlpserve::cuda::Run(argc, argv); }
