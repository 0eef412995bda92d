#include "server/tools/bench/in_turn.h"

namespace mlpserve::tools {
namespace {

constexpr double kLeastMs = 1e-4;  // in place of 0, where the clock is too coarse

}  // namespace

std::vector<double> MediansInTurn(const std::vector<RunOnce>& variants, int rounds) {
  std::vector<std::vector<double>> times(variants.size());
  int turn = 0;
  for (int round = -1; round < rounds; ++round) {
    for (size_t i = 0; i < variants.size(); ++i) {
      const double ms = variants[i](turn++);
      if (round >= 0) times[i].push_back(ms);
    }
  }
  std::vector<double> medians;
  for (std::vector<double>& t : times) {
    const auto middle = t.begin() + static_cast<std::ptrdiff_t>(t.size() / 2);
    std::nth_element(t.begin(), middle, t.end());
    medians.push_back(*middle);
  }
  return medians;
}

std::vector<double> MeansInTurn(const std::vector<RunMany>& variants, double seconds, int rounds) {
  std::vector<double> sums(variants.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < variants.size(); ++i) {
      variants[i](1);  // the change of variant is not timed
      const double ms = std::max(variants[i](1), kLeastMs);
      const int count = std::max(2, static_cast<int>(seconds * 1e3 / ms));
      sums[i] += variants[i](count) / count;
    }
  }
  for (double& sum : sums) sum /= rounds;
  return sums;
}

}  // namespace mlpserve::tools
