#include "client/load/rate_search.h"

#include <gtest/gtest.h>

#include <functional>

namespace mlpserve::load {
namespace {

struct Outcome {
  double best = 0;
  int tries = 0;
};

Outcome Search(const std::function<bool(double rate, int attempt)>& holds, double most = 1e6) {
  RateSearch search(100, most, 0.05);
  Outcome outcome;
  while (const auto rate = search.Next()) {
    search.Report(holds(*rate, ++outcome.tries));
    if (outcome.tries > 100) break;
  }
  outcome.best = search.best();
  return outcome;
}

TEST(RateSearchTest, FindsTheLimitToWithinThePrecision) {
  for (const double limit : {0.7, 3.0, 99.0, 100.0, 101.0, 31'416.0, 900'000.0}) {
    const Outcome found = Search([&](double rate, int) { return rate <= limit; });
    EXPECT_LE(found.best, limit);
    EXPECT_GE(found.best, limit / 1.05);
    EXPECT_LE(found.tries, 40);
  }
}

TEST(RateSearchTest, EndsWhereNothingHolds) {
  const Outcome found = Search([](double, int) { return false; });
  EXPECT_EQ(found.best, 0);
  EXPECT_LE(found.tries, 20);
}

TEST(RateSearchTest, EndsAtTheMost) {
  const Outcome found = Search([](double, int) { return true; }, 5000);
  EXPECT_EQ(found.best, 5000);
}

TEST(RateSearchTest, OneHiccupDoesNotDecide) {
  const Outcome found =
      Search([](double rate, int attempt) { return attempt != 2 && rate <= 1000; });
  EXPECT_GE(found.best, 1000 / 1.05);
}

}  // namespace
}  // namespace mlpserve::load
