#include "kernels/cuda/plan/block_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/plan/buckets.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/norm_launch.h"
#include "kernels/cuda/plan/pass_texts.h"
#include "kernels/cuda/plan/scratch.h"

namespace mlpserve::cuda {
namespace {

using ::testing::ElementsAre;

TEST(BucketsTest, ArePowersOfTwoWithOthersBetweenAndThenTheMostRows) {
  EXPECT_THAT(Buckets(1, {}), ElementsAre(1));
  EXPECT_THAT(Buckets(8, {}), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(Buckets(9, {}), ElementsAre(1, 2, 4, 8, 9));
  EXPECT_THAT(Buckets(24, {}), ElementsAre(1, 2, 4, 8, 16, 24));
  EXPECT_THAT(Buckets(1000, {}),
              ElementsAre(1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1000));
}

TEST(BucketsTest, ABlocksOwnEndAtTheMostRowsToo) {
  EXPECT_THAT(Buckets(100, {16, 64}), ElementsAre(16, 64, 100));
  EXPECT_THAT(Buckets(64, {16, 64, 128}), ElementsAre(16, 64));
}

LayerSpec Layer(int64_t inputs, int64_t outputs, std::vector<Op> ops = {}) {
  LayerSpec layer{.name = "fc", .inputs = inputs, .outputs = outputs};
  layer.weight = std::vector<float>(static_cast<size_t>(inputs * outputs), 1.0f);
  layer.epilogue.ops = std::move(ops);
  return layer;
}

BlockSpec OneLayer(std::vector<Op> ops) {
  BlockSpec block{.name = "b", .compute = ComputeType::kBf16};
  block.layers = {Layer(300, 30, std::move(ops))};
  return block;
}

BlockSpec Deep(int layers, int64_t features) {
  BlockSpec block{.name = "deep",
                  .input_type = DataType::kBf16,
                  .output_type = DataType::kBf16,
                  .compute = ComputeType::kBf16};
  for (int i = 0; i < layers; ++i) block.layers.push_back(Layer(features, features));
  return block;
}

TEST(PlanBlockTest, RowsOfTheWireAreTheFirstLayersWhereNothingDiffers) {
  const BlockPlan same = PlanBlock(Deep(2, 64), H200(), {.max_rows = 8});
  EXPECT_FALSE(same.converts_input());
  EXPECT_EQ(same.layers[0].x.buffer, Buffer::kWireInput);

  BlockSpec odd = Deep(1, 65);  // rows of 65 BF16 do not start at multiples of 16 bytes
  const BlockPlan padded = PlanBlock(odd, H200(), {.max_rows = 8});
  EXPECT_TRUE(padded.converts_input());
  EXPECT_EQ(padded.wire_input.stride, 65);
  EXPECT_EQ(padded.input.stride, 72);
  EXPECT_EQ(padded.layers[0].x.buffer, Buffer::kInput);
  EXPECT_EQ(padded.layers[0].block_input.buffer, Buffer::kInput);
}

TEST(PlanBlockTest, ALayerReadsWhatTheOneBeforeItWrites) {
  const BlockPlan plan = PlanBlock(Deep(4, 64), H200(), {.max_rows = 8});
  for (size_t i = 1; i < plan.layers.size(); ++i) {
    EXPECT_EQ(plan.layers[i].x.buffer, plan.layers[i - 1].y.buffer) << i;
    EXPECT_NE(plan.layers[i].x.buffer, plan.layers[i].y.buffer) << i;
  }
  EXPECT_EQ(plan.layers.back().y.buffer, Buffer::kWireOutput);
}

TEST(PlanBlockTest, WithANormTheProductIsUnfinishedAndTheNormWritesTheOutput) {
  const BlockPlan plan =
      PlanBlock(OneLayer({{BatchNorm{}}, {Pointwise{}}, {BatchNorm{}}}), H200(), {.max_rows = 64});
  const LayerPlan& layer = plan.layers.front();
  EXPECT_EQ(layer.y.buffer, Buffer::kUnfinished);
  EXPECT_EQ(layer.y.type, DataType::kFp32);
  ASSERT_EQ(layer.norms.size(), 2u);
  EXPECT_EQ(layer.norms[0].y.buffer, Buffer::kUnfinished);
  EXPECT_EQ(layer.norms[1].z.buffer, Buffer::kUnfinished);
  EXPECT_EQ(layer.norms[1].y.buffer, Buffer::kWireOutput);
  EXPECT_GT(layer.norms[1].columns_offset, layer.norms[0].columns_offset);
  EXPECT_GE(plan.lane[Buffer::kUnfinished], 64 * 32 * 4);
  EXPECT_EQ(plan.lane[Buffer::kMoments], 0) << "64 rows are held in shared memory";
}

TEST(PlanBlockTest, ANormOverMoreRowsThanAreHeldNeedsItsMomentsAndVectors) {
  const int64_t rows = 100000;
  const BlockPlan plan =
      PlanBlock(OneLayer({{BatchNorm{}}}), H200(), {.max_rows = rows, .buckets = {64}});
  EXPECT_EQ(plan.lane[Buffer::kMoments], (rows + kGatherRows - 1) / kGatherRows * 30 * 16);
  EXPECT_EQ(plan.lane[Buffer::kNormColumns], 3 * 32 * 4);
}

TEST(PlanBlockTest, BytesAreThoseOfTheShapes) {
  const BlockPlan plan = PlanBlock(Deep(3, 64), H200(), {.max_rows = 100, .has_library = false});
  EXPECT_EQ(plan.shared_bytes(), 3 * (64 * 64 * 2 + 64 * 4));
  EXPECT_EQ(plan.slot_bytes(), 100 * 64 * 2);
  EXPECT_EQ(plan.output_bytes(), 100 * 64 * 2);
  EXPECT_EQ(plan.lane[Buffer::kWireInput], 100 * 64 * 2);
  EXPECT_EQ(plan.lane[Buffer::kBetweenEven], 100 * 64 * 2);
  EXPECT_EQ(plan.lane[Buffer::kBetweenOdd], 100 * 64 * 2);
  EXPECT_EQ(plan.lane[Buffer::kWorkspace], 0);
  EXPECT_EQ(PlanBlock(Deep(3, 64), H200()).lane[Buffer::kWorkspace], kWorkspaceBytes);
}

TEST(PlanBlockTest, RowsThatMustNotDependOnTheirBatchHaveOnePlanForAllBuckets) {
  BlockSpec block = Deep(1, 512);
  block.batch_invariant = true;
  const BlockPlan plan = PlanBlock(block, H200(), {.max_rows = 100});
  EXPECT_THAT(plan.buckets, ElementsAre(1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 100));
  ASSERT_EQ(plan.layers[0].buckets.size(), 1u);
  EXPECT_EQ(plan.layers[0].buckets[0].rows, 100);
  EXPECT_FALSE(plan.may_use_library) << "it promises nothing about the order of its sums";
}

TEST(PlanBlockTest, EachBucketHoldsItsRows) {
  const BlockPlan plan = PlanBlock(Deep(1, 64), H200(), {.max_rows = 100, .buckets = {16, 64}});
  for (const int64_t rows : {1, 16, 17, 64, 65, 100}) {
    const size_t bucket = plan.BucketOf(rows);
    EXPECT_GE(plan.buckets[bucket], rows);
    EXPECT_EQ(plan.layers[0].bucket(rows).rows, plan.buckets[bucket]);
    if (bucket > 0) {
      EXPECT_LT(plan.buckets[bucket - 1], rows);
    }
  }
}

TEST(PlanBlockTest, FewRowsArePaddedAndManyAreNot) {
  const BlockPlan plan = PlanBlock(Deep(1, 64), H200(), {.max_rows = 1000});
  EXPECT_TRUE(plan.rows_are_apart());
  for (const int64_t rows : {1, 3, 17, 100, 129, 256, 512, 1000}) {
    EXPECT_TRUE(plan.PadsRows(rows)) << rows;
  }
  for (const int64_t rows : {257, 511, 513, 999}) EXPECT_FALSE(plan.PadsRows(rows)) << rows;
}

TEST(PlanBlockTest, NoBatchIsPaddedToMoreThanTwiceItsRows) {
  const BlockPlan plan = PlanBlock(Deep(1, 64), H200(), {.max_rows = 256, .buckets = {64}});
  for (const int64_t rows : {33, 64, 129, 256}) EXPECT_TRUE(plan.PadsRows(rows)) << rows;
  for (const int64_t rows : {1, 32, 65, 128}) EXPECT_FALSE(plan.PadsRows(rows)) << rows;
}

TEST(PlanBlockTest, StatisticsSeeNoPadRows) {
  const BlockPlan plan = PlanBlock(OneLayer({{BatchNorm{}}}), H200(), {.max_rows = 100});
  EXPECT_FALSE(plan.rows_are_apart());
  for (const int64_t rows : {2, 16, 24, 100}) EXPECT_TRUE(plan.PadsRows(rows)) << rows;
  for (const int64_t rows : {3, 17, 99}) EXPECT_FALSE(plan.PadsRows(rows)) << rows;
}

TEST(PlanBlockTest, EveryKindOfKernelIsThePlansChoice) {
  for (const KernelChoice choice : {KernelChoice::kPlain, KernelChoice::kLibrary}) {
    const BlockPlan plan = PlanBlock(Deep(1, 512), H200(), {.choice = choice});
    for (const BucketPlan& bucket : plan.layers[0].buckets) {
      for (const Proposal& p : bucket.candidates) EXPECT_FALSE(IsWgmma(p.config.tile));
    }
  }
  const BlockPlan plan = PlanBlock(Deep(1, 512), H200(), {.choice = KernelChoice::kWgmma});
  for (const BucketPlan& bucket : plan.layers[0].buckets) {
    ASSERT_FALSE(bucket.candidates.empty());
    for (const Proposal& p : bucket.candidates) EXPECT_TRUE(IsWgmma(p.config.tile));
  }
}

TEST(PlanBlockTest, ScratchCoversEveryCandidate) {
  BlockSpec block = Deep(2, 512);
  block.compute = ComputeType::kFp32;
  const BlockPlan plan = PlanBlock(block, H200());
  ASSERT_TRUE(plan.layers[0].is_split);
  EXPECT_GT(plan.lane[Buffer::kSplitRows], 0);
  for (const LayerPlan& layer : plan.layers) {
    for (const BucketPlan& bucket : layer.buckets) {
      for (const Proposal& p : bucket.candidates) {
        const BufferBytes needed = ScratchOf(layer, p.config, bucket.rows, plan.limits);
        BufferBytes both = plan.lane;
        both.Cover(needed);
        EXPECT_EQ(both.total(), plan.lane.total()) << Name(p.config) << " at " << bucket.rows;
      }
    }
  }
  const BlockPlan without = PlanBlock(block, H200(), {.may_split = false});
  EXPECT_FALSE(without.layers[0].is_split);
  EXPECT_EQ(without.lane[Buffer::kSplitRows], 0);
  EXPECT_LT(without.shared_bytes(), plan.shared_bytes());
}

// Has a type, and nothing that can be read.
class NoSource final : public TensorSource {
 public:
  absl::Status Read(int64_t, std::span<std::byte>) const override {
    return absl::UnavailableError("nobody may read it");
  }
};

TEST(PlanBlockTest, BytesAreKnownBeforeAnyWeightIsRead) {
  BlockSpec block = Deep(1, 512);
  block.compute = ComputeType::kFp32;
  const BlockPlan read = PlanBlock(block, H200());
  block.layers[0].weight =
      Tensor(DataType::kFp32, int64_t{512} * 512, std::make_shared<const NoSource>());
  const BlockPlan unread = PlanBlock(block, H200(), {.reads_weights = false});
  EXPECT_EQ(unread.shared_bytes(), read.shared_bytes());
  EXPECT_EQ(unread.lane_bytes(), read.lane_bytes());
  EXPECT_FALSE(PlanBlock(block, H200()).layers[0].is_split) << "it cannot be read";
}

TEST(PlanBlockTest, AWeightInTheFormatOfItsProductsIsNotConverted) {
  BlockSpec block = Deep(1, 512);
  EXPECT_FALSE(PlanBlock(block, H200()).layers[0].is_weight_as_given()) << "FP32 to BF16";
  block.layers[0].weight =
      Tensor(DataType::kBf16, int64_t{512} * 512, std::make_shared<const NoSource>());
  const BlockPlan plan = PlanBlock(block, H200());
  EXPECT_TRUE(plan.layers[0].is_weight_as_given());
  const auto text = WeightText(plan.layers[0]);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_FALSE(text->has_value());
}

int Count(const std::vector<KernelText>& texts, const char* kernel) {
  return static_cast<int>(
      std::ranges::count_if(texts, [&](const KernelText& t) { return t.kernel == kernel; }));
}

TEST(KernelTextsTest, EachSourceIsThereOnce) {
  const auto texts =
      KernelTexts(PlanBlock(OneLayer({{Pointwise{.function = Function::kGeluTanh}}}), H200()));
  ASSERT_TRUE(texts.ok()) << texts.status();
  std::set<std::string> sources;
  for (const KernelText& text : *texts) EXPECT_TRUE(sources.insert(text.source).second);
  EXPECT_GT(Count(*texts, kKernelName), 3);
  EXPECT_GT(Count(*texts, kElementwiseKernel), 0);
  EXPECT_EQ(Count(*texts, kBatchNormKernel), 0);
}

TEST(KernelTextsTest, ABatchNormBringsTheKernelsThatItsRowsNeed) {
  const BlockSpec block = OneLayer({{BatchNorm{}}});
  const auto few = KernelTexts(PlanBlock(block, Rtx4090(), {.max_rows = 64}));
  ASSERT_TRUE(few.ok()) << few.status();
  EXPECT_EQ(Count(*few, kBatchNormKernel), 1);
  EXPECT_EQ(Count(*few, kGatherKernel), 0);
  const auto many = KernelTexts(PlanBlock(block, Rtx4090(), {.max_rows = 100000, .buckets = {64}}));
  ASSERT_TRUE(many.ok()) << many.status();
  EXPECT_EQ(Count(*many, kBatchNormKernel), static_cast<int>(kHeldColumns.size()));
  EXPECT_EQ(Count(*many, kGatherKernel), 1);
}

bool Contains(const std::vector<KernelText>& texts, std::string_view label) {
  return std::ranges::any_of(
      texts, [&](const KernelText& t) { return t.label.find(label) != std::string::npos; });
}

TEST(KernelTextsTest, Fp32OnHopperBringsThreeProductsOfTf32WhereTheWeightsAllowThem) {
  BlockSpec block = OneLayer({});
  block.compute = ComputeType::kFp32;
  const auto texts = KernelTexts(PlanBlock(block, H200(), {.max_rows = 256}));
  ASSERT_TRUE(texts.ok()) << texts.status();
  EXPECT_EQ(Count(*texts, kSplitKernel), 1);
  EXPECT_TRUE(Contains(*texts, ".t3."));

  std::vector<float> weight(size_t{300} * 30, 1.0f);
  weight[7] = std::numeric_limits<float>::quiet_NaN();
  block.layers[0].weight = weight;
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    const auto plain = KernelTexts(PlanBlock(block, limits, {.max_rows = 256}));
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(Count(*plain, kSplitKernel), 0);
    EXPECT_FALSE(Contains(*plain, ".t3."));
  }
}

TEST(KernelTextsTest, FewerBucketsNeedNoMoreKernels) {
  const BlockSpec block = OneLayer({});
  const auto all = KernelTexts(PlanBlock(block, Rtx4090(), {.max_rows = 4096}));
  const auto one = KernelTexts(PlanBlock(block, Rtx4090(), {.max_rows = 4096, .buckets = {4096}}));
  ASSERT_TRUE(all.ok() && one.ok());
  EXPECT_LT(one->size(), all->size());
}

TEST(KindOfTest, LayersThatDifferInBuffersAloneAreOfOneKind) {
  const BlockPlan plan = PlanBlock(Deep(4, 64), H200());
  for (const LayerPlan& layer : plan.layers) EXPECT_EQ(KindOf(layer), KindOf(plan.layers[0]));
  BlockSpec other = Deep(4, 64);
  other.output_type = DataType::kFp32;
  const BlockPlan wide = PlanBlock(other, H200());
  EXPECT_EQ(KindOf(wide.layers[0]), KindOf(plan.layers[0]));
  EXPECT_NE(KindOf(wide.layers[3]), KindOf(plan.layers[3]));
}

std::string KeyAt(const BlockPlan& plan, size_t bucket) {
  const auto key = MeasurementKey(plan.layers[0], plan.layers[0].buckets[bucket], plan.limits);
  EXPECT_TRUE(key.ok()) << key.status();
  return key.ok() ? *key : "";
}

TEST(MeasurementKeyTest, DependsOnWhatIsCompiledAndNotOnOtherBuckets) {
  const BlockPlan plan = PlanBlock(Deep(1, 512), H200(), {.max_rows = 64});
  const BlockPlan fewer = PlanBlock(Deep(1, 512), H200(), {.max_rows = 64, .buckets = {16}});
  EXPECT_EQ(KeyAt(plan, 4), KeyAt(fewer, 0)) << "16 rows in both";
  EXPECT_NE(KeyAt(plan, 4), KeyAt(plan, 5));
  EXPECT_NE(KeyAt(plan, 4), KeyAt(PlanBlock(Deep(1, 520), H200(), {.max_rows = 64}), 4));
  BlockSpec gelu = Deep(1, 512);
  gelu.layers[0].epilogue.ops = {{Pointwise{.function = Function::kGeluTanh}}};
  EXPECT_NE(KeyAt(plan, 4), KeyAt(PlanBlock(gelu, H200(), {.max_rows = 64}), 4));
}

TEST(EstimateTest, ANormsPassIsCountedUnlessTheKernelDoesIt) {
  const BlockPlan plan = PlanBlock(
      [] {
        BlockSpec block = Deep(1, 2048);
        block.layers[0].epilogue.ops = {{BatchNorm{}}};
        return block;
      }(),
      H200(), {.max_rows = 1024});
  const LayerPlan& layer = plan.layers[0];
  bool has_normalising = false;
  for (const Proposal& p : layer.buckets.back().candidates) {
    const double us = EstimateUs(layer, p, 1024, plan.limits);
    if (Normalises(p.config.tile)) {
      has_normalising = true;
      EXPECT_EQ(us, p.estimate_us);
    } else {
      EXPECT_GT(us, p.estimate_us + 2);
    }
  }
  EXPECT_TRUE(has_normalising);
}

}  // namespace
}  // namespace mlpserve::cuda
