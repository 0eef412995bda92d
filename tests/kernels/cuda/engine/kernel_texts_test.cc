#include "kernels/cuda/engine/kernel_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>

#include "kernels/cuda/engine/batch_norm_step.h"
#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/cuda/engine/split_step.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/plan/buckets.h"

namespace mlpserve::cuda {
namespace {

using ::testing::ElementsAre;

TEST(BucketsTest, ArePowersOfTwoAndThenTheMostRows) {
  EXPECT_THAT(Buckets(1, {}), ElementsAre(1));
  EXPECT_THAT(Buckets(8, {}), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(Buckets(9, {}), ElementsAre(1, 2, 4, 8, 9));
}

TEST(BucketsTest, ABlocksOwnEndAtTheMostRowsToo) {
  EXPECT_THAT(Buckets(100, {16, 64}), ElementsAre(16, 64, 100));
  EXPECT_THAT(Buckets(64, {16, 64, 128}), ElementsAre(16, 64));
}

BlockSpec OneLayer(std::vector<Op> ops) {
  BlockSpec block{.name = "b", .compute = ComputeType::kBf16};
  LayerSpec layer{.name = "fc", .inputs = 300, .outputs = 30};
  layer.weight = std::vector<float>(layer.inputs * layer.outputs, 1);
  layer.epilogue.ops = std::move(ops);
  block.layers = {std::move(layer)};
  return block;
}

int Count(const std::vector<KernelText>& texts, const char* kernel) {
  return static_cast<int>(
      std::ranges::count_if(texts, [&](const KernelText& t) { return t.kernel == kernel; }));
}

TEST(KernelTextsTest, EachSourceIsThereOnce) {
  const auto texts = KernelTexts(OneLayer({{Pointwise{.function = Function::kGeluTanh}}}),
                                 {.max_rows = 4096}, H200());
  ASSERT_TRUE(texts.ok()) << texts.status();
  std::set<std::string> sources;
  for (const KernelText& text : *texts) EXPECT_TRUE(sources.insert(text.source).second);
  EXPECT_GT(Count(*texts, kKernelName), 3);
  EXPECT_GT(Count(*texts, kElementwiseKernel), 0);
  EXPECT_EQ(Count(*texts, kBatchNormKernel), 0);
}

TEST(KernelTextsTest, ABatchNormBringsItsKernels) {
  const auto texts = KernelTexts(OneLayer({{BatchNorm{}}}), {.max_rows = 64}, Rtx4090());
  ASSERT_TRUE(texts.ok()) << texts.status();
  EXPECT_EQ(Count(*texts, kBatchNormKernel), static_cast<int>(kBlockColumns.size()));
  EXPECT_EQ(Count(*texts, kGatherKernel), 1);
}

bool Contains(const std::vector<KernelText>& texts, std::string_view label) {
  return std::ranges::any_of(
      texts, [&](const KernelText& t) { return t.label.find(label) != std::string::npos; });
}

TEST(KernelTextsTest, Fp32OnHopperBringsThreeProductsOfTf32WhereTheWeightsAllowThem) {
  BlockSpec block = OneLayer({});
  block.compute = ComputeType::kFp32;
  const auto texts = KernelTexts(block, {.max_rows = 256}, H200());
  ASSERT_TRUE(texts.ok()) << texts.status();
  EXPECT_EQ(Count(*texts, kSplitKernel), 1);
  EXPECT_TRUE(Contains(*texts, ".t3."));

  std::vector<float> weight = block.layers[0].weight.ToFloats().value();
  weight[7] = std::numeric_limits<float>::quiet_NaN();
  block.layers[0].weight = std::move(weight);
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    const auto plain = KernelTexts(block, {.max_rows = 256}, limits);
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(Count(*plain, kSplitKernel), 0);
    EXPECT_FALSE(Contains(*plain, ".t3."));
  }
}

TEST(KernelTextsTest, FewerBucketsNeedNoMoreKernels) {
  const BlockSpec block = OneLayer({});
  const auto all = KernelTexts(block, {.max_rows = 4096}, Rtx4090());
  const auto one = KernelTexts(block, {.max_rows = 4096, .buckets = {4096}}, Rtx4090());
  ASSERT_TRUE(all.ok() && one.ok());
  EXPECT_LT(one->size(), all->size());
}

}  // namespace
}  // namespace mlpserve::cuda
