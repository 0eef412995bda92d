#include "server/batching/run_times.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;

TEST(RunTimesTest, NothingIsKnownOfAMachineThatWasNotMeasured) {
  RunTimes times({});
  EXPECT_FALSE(times.known());
  EXPECT_EQ(times.Of(1), Duration::zero());
  EXPECT_EQ(times.Of(int64_t{1} << 40), Duration::zero());
}

TEST(RunTimesTest, MeasurementsWithoutRowsOrTimeAreNone) {
  const std::vector<BatchTime> none = {{0, microseconds(5)}, {-1, microseconds(5)}, {4, {}}};
  EXPECT_FALSE(RunTimes(none).known());
}

TEST(RunTimesTest, BetweenMeasurementsIsInterpolatedAndBeyondThemTimeGrowsWithRows) {
  const std::vector<BatchTime> measured = {{64, microseconds(100)}, {4, microseconds(40)}};
  const RunTimes times(measured);
  EXPECT_EQ(times.Of(1), microseconds(40));
  EXPECT_EQ(times.Of(4), microseconds(40));
  EXPECT_EQ(times.Of(34), microseconds(70));
  EXPECT_EQ(times.Of(64), microseconds(100));
  EXPECT_EQ(times.Of(128), microseconds(200));
  EXPECT_EQ(times.Of(96), microseconds(150));
}

TEST(RunTimesTest, WhatIsSeenFirstHoldsForSizesOfWhichNothingIsKnown) {
  RunTimes times({});
  times.Observe(16, microseconds(30));
  EXPECT_EQ(times.Of(1), microseconds(30));
  EXPECT_EQ(times.Of(4096), microseconds(30));
  times.Observe(64, microseconds(100));
  EXPECT_EQ(times.Of(16), microseconds(30));
  EXPECT_EQ(times.Of(4096), microseconds(100));
}

TEST(RunTimesTest, AnEstimateFollowsWhatIsSeenInBothDirections) {
  const std::vector<BatchTime> measured = {{1, microseconds(10)}, {64, microseconds(640)}};
  RunTimes times(measured);
  for (int i = 0; i < 100; ++i) times.Observe(48, microseconds(4800));
  EXPECT_NEAR(static_cast<double>(times.Of(48).count()), 4.8e6, 0.05e6);
  for (int i = 0; i < 100; ++i) times.Observe(48, microseconds(48));
  EXPECT_NEAR(static_cast<double>(times.Of(48).count()), 4.8e4, 0.05e4);
}

TEST(RunTimesTest, OneBatchThatWasHeldUpMovesItsEstimateByAnEighth) {
  const std::vector<BatchTime> measured = {{16, microseconds(800)}};
  RunTimes times(measured);
  times.Observe(16, std::chrono::hours(1));
  EXPECT_EQ(times.Of(16), microseconds(900));
  times.Observe(16, Duration(-5));
  EXPECT_GT(times.Of(16), microseconds(800));
}

TEST(RunTimesTest, RowsWithinATime) {
  const std::vector<BatchTime> measured = {{1, microseconds(10)}, {64, microseconds(640)}};
  const RunTimes times(measured);
  EXPECT_EQ(times.RowsWithin(microseconds(1), 4096), 1);
  EXPECT_EQ(times.RowsWithin(microseconds(330), 4096), 33);
  EXPECT_EQ(times.RowsWithin(microseconds(640), 4096), 64);
  EXPECT_EQ(times.RowsWithin(microseconds(1280), 4096), 128);
  EXPECT_EQ(times.RowsWithin(microseconds(1280), 100), 100);
  EXPECT_EQ(times.RowsWithin(std::chrono::hours(1), 4096), 4096);
  EXPECT_EQ(times.RowsWithin(microseconds(300), 1), 1);
}

TEST(RunTimesTest, TheFewestRowsThatAreNearlyAsFastAsAny) {
  std::vector<BatchTime> flat_then_linear;
  for (int64_t rows = 1; rows <= 4096; rows *= 2) {
    flat_then_linear.push_back({rows, microseconds(std::max<int64_t>(rows, 64))});
  }
  EXPECT_EQ(RunTimes(flat_then_linear).EfficientRows(4096), 64);
  EXPECT_EQ(RunTimes(flat_then_linear).EfficientRows(16), 16);
  EXPECT_EQ(RunTimes(flat_then_linear).EfficientRows(1), 1);
}

}  // namespace
}  // namespace mlpserve
