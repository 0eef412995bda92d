#include "kernels/cpu/cpu_plan.h"

#include "gtest/gtest.h"

namespace mlpserve::cpu {
namespace {

BlockShape Shape(int64_t width, int64_t layers, bool batch_statistics = false) {
  return {.weights = layers * width * width,
          .weight_bytes = layers * width * width * 4,
          .widest = width,
          .batch_statistics = batch_statistics};
}

TEST(ChoosePlanTest, ASmallBatchWakesNobody) {
  const Plan plan = ChoosePlan(Shape(256, 4), 1, 16);
  EXPECT_EQ(plan.threads, 1);
  EXPECT_TRUE(plan.by_chunks);
}

TEST(ChoosePlanTest, ManyRowsAreCutIntoEqualChunksForAllThreads) {
  const Plan plan = ChoosePlan(Shape(1024, 3), 512, 8);
  EXPECT_EQ(plan.threads, 8);
  EXPECT_TRUE(plan.by_chunks);
  EXPECT_EQ(plan.chunk_rows, 64);
  EXPECT_EQ(ChoosePlan(Shape(256, 3), 100, 2).chunk_rows, 50);
}

TEST(ChoosePlanTest, FewRowsOfWideLayersAreCutByColumns) {
  const Plan plan = ChoosePlan(Shape(4096, 3), 2, 8);
  EXPECT_EQ(plan.threads, 8);
  EXPECT_FALSE(plan.by_chunks);
  EXPECT_GE(plan.chunk_rows, 2);
}

TEST(ChoosePlanTest, ManyMoreRowsAreReadForWeightsThatExceedTheCache) {
  EXPECT_TRUE(ChoosePlan(Shape(256, 3), 63, 2).by_chunks);
  EXPECT_FALSE(ChoosePlan(Shape(1024, 3), 63, 2).by_chunks);
  EXPECT_TRUE(ChoosePlan(Shape(1024, 3), 64, 2).by_chunks);
}

TEST(ChoosePlanTest, FewRowsAreCutTooWhereThePanelsAreTooFew) {
  EXPECT_EQ(ChoosePlan(Shape(1024, 3), 60, 2).chunk_rows, 60);
  EXPECT_EQ(ChoosePlan(Shape(1024, 3), 60, 16).chunk_rows, 15);
}

TEST(ChoosePlanTest, BatchStatisticsGoLayerAfterLayer) {
  EXPECT_FALSE(ChoosePlan(Shape(16, 1, true), 2, 1).by_chunks);
  EXPECT_FALSE(ChoosePlan(Shape(1024, 3, true), 4096, 8).by_chunks);
}

TEST(ChoosePlanTest, EveryPlanIsWithinItsBounds) {
  for (int64_t width : {1, 10, 256, 1024, 5000, 65536}) {
    for (int64_t rows : {1, 5, 47, 48, 100, 4096}) {
      for (int threads : {1, 2, 7, 64}) {
        for (bool statistics : {false, true}) {
          const BlockShape shape = Shape(width, 2, statistics);
          const Plan plan = ChoosePlan(shape, rows, threads);
          EXPECT_GE(plan.chunk_rows, 1);
          EXPECT_LE(plan.chunk_rows, LargestChunk(shape));
          EXPECT_TRUE(plan.threads == 1 || plan.threads == threads);
          // The buffers of the plan by columns hold FewRows rows.
          EXPECT_TRUE(plan.by_chunks || statistics || rows < FewRows(shape, threads));
        }
      }
    }
  }
}

TEST(LargestChunkTest, KeepsTheRowsInTheL2Cache) {
  EXPECT_EQ(LargestChunk({.widest = 64}), 192);
  EXPECT_EQ(LargestChunk({.widest = 2048}), 96);
  EXPECT_EQ(LargestChunk({.widest = 16384}), 48);
}

}  // namespace
}  // namespace mlpserve::cpu
