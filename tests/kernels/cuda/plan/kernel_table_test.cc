#include "kernels/cuda/plan/kernel_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve::cuda {
namespace {

TEST(KernelTableTest, RatesFollowFromTheShapeAndTheTime) {
  const KernelRow row{.bucket = 1000, .outputs = 2000, .inputs = 500, .us = 10, .library_us = 12};
  EXPECT_NEAR(row.TflopsPerSecond(), 200, 1e-9);
  EXPECT_NEAR(row.GigabytesPerSecond(), 2e-3 * (2000 * 500 + 1000 * 2500) / 10, 1e-9);
  EXPECT_THAT(ToString({row}), testing::HasSubstr("1.20x"));
}

TEST(KernelTableTest, ARowSaysHowTheKernelFillsAnSm) {
  const KernelRow row{
      .variant = "mma.v", .registers = 128, .shared_bytes = 49280, .ctas_per_sm = 2};
  EXPECT_THAT(ToString({row}), testing::ContainsRegex("regs +shared +CTAs(.|\n)*128 +49280 +2 "));
}

TEST(KernelTableTest, WhatWasNotMeasuredHasNoRates) {
  const KernelRow row{.bucket = 16, .outputs = 20, .inputs = 5, .variant = "mma.v"};
  EXPECT_EQ(row.TflopsPerSecond(), 0);
  EXPECT_EQ(row.GigabytesPerSecond(), 0);
  EXPECT_THAT(ToString({row}),
              testing::AllOf(testing::HasSubstr("mma.v"), testing::Not(testing::HasSubstr("inf"))));
}

}  // namespace
}  // namespace mlpserve::cuda
