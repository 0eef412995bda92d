#include "server/tools/bench/in_turn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace mlpserve::tools {
namespace {

TEST(InTurnTest, EveryVariantRunsInEachRoundAndTurnsCountUp) {
  std::vector<std::pair<int, int>> calls;  // variant, turn
  const auto variant = [&calls](int i) {
    return [&calls, i](int turn) {
      calls.emplace_back(i, turn);
      return 1.0;
    };
  };
  MediansInTurn({variant(0), variant(1)}, 2);
  const std::vector<std::pair<int, int>> expected = {{0, 0}, {1, 1}, {0, 2},
                                                     {1, 3}, {0, 4}, {1, 5}};
  EXPECT_EQ(calls, expected);
}

TEST(InTurnTest, TheMedianIgnoresTheFirstRunAndOutliers) {
  std::vector<double> times = {1000, 3, 500, 1, 2, 4};
  size_t next = 0;
  const std::vector<double> medians =
      MediansInTurn({[&](int) { return times[next++]; }, [](int) { return 7.0; }}, 5);
  EXPECT_EQ(medians, (std::vector<double>{3, 7}));
}

TEST(InTurnTest, TheMeanIsOfOneRunOverStretchesOfTheLengthAskedFor) {
  std::vector<int> counts;
  const auto two_milliseconds = [&counts](int times) {
    counts.push_back(times);
    return 2.0 * times;
  };
  EXPECT_EQ(MeansInTurn({two_milliseconds}, 0.1, 2), std::vector<double>{2});
  EXPECT_EQ(counts, (std::vector<int>{1, 1, 50, 1, 1, 50}));
}

TEST(InTurnTest, WhatTakesLongerThanItsStretchRunsTwiceAllTheSame) {
  std::vector<int> counts;
  MeansInTurn({[&counts](int times) {
                counts.push_back(times);
                return 1e6 * times;
              }},
              0.1, 1);
  EXPECT_EQ(counts.back(), 2);
}

TEST(InTurnTest, AClockThatDoesNotMoveEndsAllTheSame) {
  int most = 0;
  const auto means = MeansInTurn({[&most](int times) {
                                   most = std::max(most, times);
                                   return 0.0;
                                 }},
                                 1, 1);
  EXPECT_EQ(means[0], 0);
  EXPECT_LE(most, 10'000'000);
}

TEST(InTurnTest, AStretchIsTimedAgainInEachRoundAndTheMeanTaken) {
  double ms = 0;  // a card that slows down
  const auto means = MeansInTurn({[&ms](int times) { return (ms += 1) * times; }}, 1e-3, 2);
  EXPECT_DOUBLE_EQ(means[0], (3.0 + 6.0) / 2);
}

TEST(ColdCopiesTest, CoverFiveL2CachesWithinBounds) {
  EXPECT_EQ(ColdCopies(1), 96);
  EXPECT_EQ(ColdCopies(size_t{8192} * 8192 * 2), 3);
  EXPECT_EQ(ColdCopies(size_t{1} << 40), 3);
  EXPECT_GE(ColdCopies(10u << 20) * (size_t{10} << 20), kColdBytes);
}

}  // namespace
}  // namespace mlpserve::tools
