#include "kernels/cuda/plan/split_weight.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "kernels/cuda/tiles/choose.h"

namespace mlpserve::cuda {
namespace {

LayerSpec LayerOf(std::vector<float> weight, int64_t inputs = kLeastHalvesDepth) {
  return {.name = "fc", .inputs = inputs, .outputs = 1, .weight = std::move(weight)};
}

TEST(MayBeSplitTest, OrdinaryWeightsMayAndZerosToo) {
  EXPECT_TRUE(MayBeSplit(LayerOf({1, -0.3f, 0, -0.0f, 1e-30f, 1e12f})));
  EXPECT_FALSE(MayBeSplit(LayerOf({1}, kLeastHalvesDepth - 1))) << "FP32 errs by less";
}

TEST(MayBeSplitTest, OneWeightThatTwoPartsCannotHoldRulesThemOut) {
  using Limits = std::numeric_limits<float>;
  for (const float w : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), Limits::max(),
                        2e12f, -2e12f, 1e-31f, Limits::min(), -Limits::denorm_min()}) {
    EXPECT_FALSE(MayBeSplit(LayerOf({1, w, 2}))) << w;
  }
}

}  // namespace
}  // namespace mlpserve::cuda
