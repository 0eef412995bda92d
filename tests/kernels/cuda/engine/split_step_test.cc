#include "kernels/cuda/engine/split_step.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/tiles/choose.h"

namespace mlpserve::cuda {
namespace {

TEST(SplitSourceTest, Compiles) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  for (const char* arch : {"sm_80", "sm_90a"}) {
    const auto compiled =
        (*nvrtc)->Compile(SplitSource(), kSplitKernel, {.arch = arch, .kernel = kSplitKernel});
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    EXPECT_TRUE(compiled->resources.in_registers()) << arch;
  }
}

LayerSpec LayerOf(std::vector<float> weight, int64_t inputs = kLeastHalvesDepth) {
  return {.name = "fc", .inputs = inputs, .outputs = 1, .weight = std::move(weight)};
}

TEST(MayBeSplitTest, OrdinaryWeightsMayAndZerosToo) {
  EXPECT_TRUE(MayBeSplit(LayerOf({1, -0.3f, 0, -0.0f, 1e-30f, 1e12f})));
  EXPECT_FALSE(MayBeSplit(LayerOf({1}, kLeastHalvesDepth - 1))) << "FP32 errs by less";
}

TEST(MayBeSplitTest, OneWeightThatHalvesCannotHoldRulesThemOut) {
  using Limits = std::numeric_limits<float>;
  for (const float w : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), Limits::max(),
                        2e12f, -2e12f, 1e-31f, Limits::min(), -Limits::denorm_min()}) {
    EXPECT_FALSE(MayBeSplit(LayerOf({1, w, 2}))) << w;
  }
}

}  // namespace
}  // namespace mlpserve::cuda
