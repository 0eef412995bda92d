// Which columns of split rows a product of three terms reads, on the host.
#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "tests/kernels/cuda/device/host_primitives.h"

namespace mlpserve::cuda {

struct Config {
  static constexpr int kTerms = 3;
  static constexpr Type kIn = Type::kTf32;
};

}  // namespace mlpserve::cuda

// After what it is built on.
#include "kernels/cuda/device/tf32/tf32_terms.cuh"

namespace mlpserve::cuda {
namespace {

TEST(Tf32TermsTest, EveryPairOfHalvesButTheLowOnesIsMultipliedOnce) {
  for (const int k : {1, 31, 32, 33, 64, 100, 8192}) {
    const GemmArgs args{.k = k};
    const int half = static_cast<int>(HalfColumns(int64_t{k}));
    std::set<std::pair<int, int>> seen;
    for (int column = 0; column < ProductColumns(args); column += kTermColumns) {
      const auto pair = std::make_pair(ColumnOfX(args, column), ColumnOfW(args, column));
      EXPECT_TRUE(seen.insert(pair).second);
      EXPECT_EQ(pair.first % half, pair.second % half);
      EXPECT_FALSE(pair.first >= half && pair.second >= half);
      EXPECT_LT(std::max(pair.first, pair.second), 2 * half);
    }
    EXPECT_EQ(static_cast<int>(seen.size()), 3 * half / kTermColumns);
  }
}

TEST(Tf32TermsTest, WhatARingReadsBeyondTheProductLiesOutsideOfTheHalves) {
  const GemmArgs args{.k = 33};
  for (int i = 0; i < 8; ++i) {
    const int column = ProductColumns(args) + i * kTermColumns;
    EXPECT_GE(ColumnOfX(args, column), SplitStrideOfW(33));
    EXPECT_GE(ColumnOfW(args, column), SplitStrideOfW(33));
  }
}

TEST(Tf32TermsTest, TheFactorOfARowStandsBehindItsHalves) {
  constexpr int kDepth = 40;
  const int64_t stride = SplitStrideOfX(kDepth);
  std::vector<float> x(static_cast<size_t>(3 * stride));
  for (int row = 0; row < 3; ++row) {
    x[static_cast<size_t>(row * stride + 2 * HalfColumns(int64_t{kDepth}))] =
        static_cast<float>(row + 1);
  }
  const GemmArgs args{.x = x.data(), .x_stride = stride, .m = 3, .k = kDepth};
  EXPECT_EQ(RowFactor(args, 0), 1);
  EXPECT_EQ(RowFactor(args, 2), 3);
  EXPECT_EQ(RowFactor(args, 100), 3);  // of a tile that reaches beyond y
}

}  // namespace
}  // namespace mlpserve::cuda
