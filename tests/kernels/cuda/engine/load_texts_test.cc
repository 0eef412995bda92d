// What a load asks the store for is what mlpserve-compile fills the cache with, on a machine
// without a GPU: the load's own code makes every candidate, and a store that has no device writes
// down what it is asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/engine/candidates.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/layer_chooser.h"
#include "kernels/cuda/engine/library_gemm.h"
#include "kernels/cuda/plan/block_plan.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/pass_texts.h"

namespace mlpserve::cuda {
namespace {

class RecordingKernels final : public Kernels {
 public:
  explicit RecordingKernels(DeviceLimits limits) : limits_(std::move(limits)) {}

  const DeviceLimits& limits() const override { return limits_; }
  absl::StatusOr<SharedKernel> Get(const KernelText& text, int shared_bytes) override {
    EXPECT_LE(shared_bytes, limits_.sm.shared_per_cta) << text.label;
    sources.insert(text.source);
    return std::make_shared<const LoadedKernel>();
  }
  absl::StatusOr<int> ActiveClusters(const LoadedKernel&, const LaunchShape&,
                                     int cluster) override {
    return limits_.multiprocessors / cluster;
  }

  std::set<std::string> sources;

 private:
  const DeviceLimits limits_;
};

// The steps that a load makes when it measures everything.
void MakeAll(const BlockPlan& plan, RecordingKernels& kernels) {
  const auto get = [&](const std::vector<KernelText>& texts) {
    for (const KernelText& text : texts) ASSERT_TRUE(kernels.Get(text, 0).ok());
  };
  const auto input = InputTexts(plan);
  ASSERT_TRUE(input.ok()) << input.status();
  get(*input);
  get(HostRowsTexts(plan));
  for (const LayerPlan& layer : plan.layers) {
    const auto weight = WeightText(layer);  // UploadWeight's
    ASSERT_TRUE(weight.ok()) << weight.status();
    if (*weight) get({**weight});
    if (layer.is_split) get({SplitText()});  // SplitWeight's
    CandidateMaker maker(layer, kernels);
    for (const BucketPlan& bucket : layer.buckets) {
      for (const Proposal& proposal : bucket.candidates) {
        const auto made = maker.Ours(proposal.config, bucket.rows);
        ASSERT_TRUE(made.ok()) << made.status();
      }
    }
    if (plan.may_use_library) {
      ASSERT_TRUE(LibraryPass::Make(layer, kernels).ok());
    }
  }
}

void ExpectSameTexts(const BlockSpec& block, const PlanOptions& options) {
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    const BlockPlan plan = PlanBlock(block, limits, options);
    RecordingKernels kernels(limits);
    MakeAll(plan, kernels);
    const auto texts = KernelTexts(plan);
    ASSERT_TRUE(texts.ok()) << texts.status();
    std::set<std::string> ahead;
    for (const KernelText& text : *texts) ahead.insert(text.source);
    EXPECT_EQ(ahead.size(), kernels.sources.size()) << limits.arch;
    EXPECT_TRUE(ahead == kernels.sources) << limits.arch;
  }
}

BlockSpec Block(ComputeType compute, std::vector<std::vector<Op>> epilogues) {
  BlockSpec block{.name = "b", .compute = compute};
  for (std::vector<Op>& ops : epilogues) {
    LayerSpec layer{.name = "fc", .inputs = 300, .outputs = 300};
    layer.weight = std::vector<float>(size_t{300} * 300, 1.0f);
    layer.bias.assign(300, 0.5f);
    layer.bias[1] = 2;  // not the same for all columns
    layer.epilogue.ops = std::move(ops);
    block.layers.push_back(std::move(layer));
  }
  return block;
}

const Op kGelu{Pointwise{.function = Function::kGeluTanh}};

TEST(LoadTextsTest, ALoadAsksForWhatIsCompiledAhead) {
  for (const ComputeType compute :
       {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    ExpectSameTexts(Block(compute, {{kGelu}, {}, {{AddInput{}}}}), {.max_rows = 1024});
  }
}

TEST(LoadTextsTest, AlsoWithBatchStatisticsOfFewRowsAndOfMoreThanAreHeld) {
  const BlockSpec block =
      Block(ComputeType::kBf16, {{{BatchNorm{}}, kGelu}, {{BatchNorm{}}, {BatchNorm{}}}});
  ExpectSameTexts(block, {.max_rows = 1024});
  ExpectSameTexts(block, {.max_rows = 100000, .buckets = {256}});
}

TEST(LoadTextsTest, AlsoWhereRowsMustNotDependOnTheirBatchAndWithoutALibrary) {
  BlockSpec block = Block(ComputeType::kFp16, {{kGelu}, {kGelu}});
  block.output_type = DataType::kFp16;
  ExpectSameTexts(block, {.has_library = false});
  block.batch_invariant = true;
  ExpectSameTexts(block, {});
}

TEST(LoadTextsTest, LayersOfOneKindShareTheirKernels) {
  const BlockPlan one = PlanBlock(Block(ComputeType::kBf16, {{kGelu}, {kGelu}}), H200());
  const BlockPlan many =
      PlanBlock(Block(ComputeType::kBf16, {{kGelu}, {kGelu}, {kGelu}, {kGelu}, {kGelu}}), H200());
  const auto few = KernelTexts(one);
  const auto same = KernelTexts(many);
  ASSERT_TRUE(few.ok() && same.ok());
  EXPECT_EQ(few->size(), same->size());
}

TEST(UnmeasuredOrderTest, TheBestEstimateComesFirstUnlessTestsWantAKind) {
  const BlockPlan plan = PlanBlock(Block(ComputeType::kBf16, {{kGelu}}), H200());
  for (const BucketPlan& bucket : plan.layers[0].buckets) {
    const std::vector<Proposal> order =
        UnmeasuredOrder(plan.layers[0], bucket, KernelChoice::kMeasured, plan.limits);
    ASSERT_EQ(order.size(), bucket.candidates.size());
    for (const Proposal& p : order) EXPECT_LE(order[0].estimate_us, p.estimate_us);
    const std::vector<Proposal> plain =
        UnmeasuredOrder(plan.layers[0], bucket, KernelChoice::kPlain, plan.limits);
    EXPECT_EQ(Name(plain[0].config), Name(bucket.candidates[0].config));
  }
}

}  // namespace
}  // namespace mlpserve::cuda
