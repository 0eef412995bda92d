#include "kernels/cuda/tiles/wgmma_cost.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "kernels/cuda/tiles/fit/loss.h"
#include "kernels/cuda/tiles/fit/records.h"
#include "kernels/cuda/tiles/tuning_space.h"
#include "tests/source_folder.h"

namespace mlpserve::cuda {
namespace {

constexpr double kMostBehind = 0.03;  // that the best of the proposals takes over the best of all

std::vector<Point> RecordedPoints() {
  Records records;
  EXPECT_TRUE(records.Read(SourceFolder() + "/kernels/results/h200-tiles-2026-12-01.txt"));
  EXPECT_EQ(records.left_out(), 0);
  return records.Points();
}

TEST(WgmmaCostTest, EveryTileHasAnEstimateAtEveryShape) {
  for (const Tile& tile : TuningSpace(ComputeType::kBf16, H200())) {
    if (!IsWgmma(tile)) continue;
    for (const int64_t m : {1, 63, 129, 65536}) {
      for (const int64_t n : {1, 100, 50000}) {
        for (const int64_t k : {1, 33, 30000}) {
          const double us = EstimateWgmma({m, n, k}, tile, 2, H200(), H200Rates());
          EXPECT_TRUE(std::isfinite(us) && us > 0) << m << " x " << n << " x " << k;
        }
      }
    }
  }
}

TEST(WgmmaCostTest, MoreOfAnythingTakesNoLessTime) {
  const Tile tile = WgmmaConfig{};
  const auto us = [&tile](int64_t m, int64_t n, int64_t k) {
    return EstimateWgmma({m, n, k}, tile, 2, H200(), H200Rates());
  };
  EXPECT_GT(us(8192, 4096, 4096), us(4096, 4096, 4096));
  EXPECT_GT(us(4096, 8192, 4096), us(4096, 4096, 4096));
  EXPECT_GT(us(4096, 4096, 8192), us(4096, 4096, 4096));
}

// tile_fit starts at the rates of the tree, and would leave where any of them could be better.
TEST(WgmmaCostTest, TheRatesAreFittedToTheRecords) {
  constexpr double kMostGain = 0.005;  // of the loss
  const std::vector<Point> points = RecordedPoints();
  const std::vector<const Record*> records = ToFit(points);
  const double loss = Loss(records, H200Rates());
  for (const RateParameter& parameter : kRateParameters) {
    for (const double factor : {0.9, 1.1}) {
      WgmmaRates moved = H200Rates();
      moved.*parameter.value *= factor;
      EXPECT_GE(Loss(records, moved), loss * (1 - kMostGain)) << parameter.name << " * " << factor;
    }
  }
}

TEST(WgmmaCostTest, ProposalsHoldOneOfTheFastestAtShapesHeldOutOfTheFit) {
  int held_out = 0;
  for (const Point& point : RecordedPoints()) {
    if (!point.held_out) continue;
    ++held_out;
    const GemmShape& s = point.records.front().shape;
    EXPECT_LE(LossOfProposals(point, H200Rates()), kMostBehind)
        << s.m << " x " << s.n << " x " << s.k;
  }
  EXPECT_EQ(held_out, 24);
}

TEST(WgmmaCostTest, ProposalsHoldOneOfTheFastestAtNineInTenRecordedShapes) {
  const std::vector<Point> points = RecordedPoints();
  size_t within = 0;
  for (const Point& point : points) within += LossOfProposals(point, H200Rates()) <= kMostBehind;
  EXPECT_GE(within * 10, points.size() * 9);
}

}  // namespace
}  // namespace mlpserve::cuda
