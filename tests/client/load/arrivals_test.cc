#include "client/load/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace mlpserve::load {
namespace {

// All workers' arrivals of the first `seconds`, in seconds.
std::vector<double> All(ArrivalKind kind, double rate, int workers, double seconds, uint64_t seed) {
  std::vector<double> all;
  for (int worker = 0; worker < workers; ++worker) {
    Arrivals arrivals(kind, rate, worker, workers, seed);
    for (;;) {
      const double at = std::chrono::duration<double>(arrivals.Next()).count();
      if (at >= seconds) break;
      all.push_back(at);
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

TEST(ArrivalsTest, ConstantOnesAreEvenlySpacedOverAllWorkers) {
  const std::vector<double> all = All(ArrivalKind::kConstant, 1000, 3, 1, 1);
  ASSERT_EQ(all.size(), 1000U);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_NEAR(all[i], static_cast<double>(i) / 1000, 1e-8);
  }
}

TEST(ArrivalsTest, PoissonOnesHaveTheRateAndTheSpreadOfTheExponential) {
  const std::vector<double> all = All(ArrivalKind::kPoisson, 1000, 3, 100, 1);
  // 100,000 expected, a deviation of 316.
  EXPECT_NEAR(static_cast<double>(all.size()), 100'000, 5 * 316);
  double longer = 0;
  for (size_t i = 1; i < all.size(); ++i) longer += all[i] - all[i - 1] > 0.001 ? 1 : 0;
  EXPECT_NEAR(longer / static_cast<double>(all.size()), std::exp(-1), 0.01);
}

TEST(ArrivalsTest, TheSeedDecides) {
  EXPECT_EQ(All(ArrivalKind::kPoisson, 100, 2, 1, 5), All(ArrivalKind::kPoisson, 100, 2, 1, 5));
  EXPECT_NE(All(ArrivalKind::kPoisson, 100, 2, 1, 5), All(ArrivalKind::kPoisson, 100, 2, 1, 6));
}

}  // namespace
}  // namespace mlpserve::load
