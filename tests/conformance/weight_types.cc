// Weights in the formats that files have them in, whatever the block computes in.
#include <memory>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

TEST_P(BackendConformance, WeightsOfEveryTypeAreMultiplied) {
  std::mt19937_64 random(18);
  for (const int64_t inputs : {1, 33, 530}) {
    BlockSpec block{.name = "types"};
    block.layers = {RandomLayer(inputs, 70, true, random)};
    const std::vector<float> weight = block.layers[0].weight.ToFloats().value();
    const std::vector<float> x = RandomRows(5, inputs, DataType::kFp32, random);
    for (const DataType type : kDataTypes) {
      block.layers[0].weight = StoredAs(type, weight);
      for (const ComputeType compute : kComputeTypes) {
        block.compute = compute;
        ExpectMatchesOracle(block, x, 5,
                            absl::StrCat("weights as ", std::string(Name(type)), ", computed as ",
                                         std::string(Name(compute))));
      }
    }
  }
}

class LostFile final : public TensorSource {
 public:
  absl::Status Read(int64_t, std::span<std::byte>) const override {
    return absl::UnavailableError("the file became shorter");
  }
};

TEST_P(BackendConformance, AWeightThatCannotBeReadFailsTheLoad) {
  BlockSpec block{.name = "lost"};
  block.layers = {
      {.name = "fc",
       .inputs = 300,
       .outputs = 70,
       .weight = Tensor(DataType::kBf16, int64_t{300} * 70, std::make_shared<LostFile>())}};
  for (const ComputeType compute : kComputeTypes) {
    block.compute = compute;
    const auto placement = backend_->Prepare(block, {.max_rows = 1});
    ASSERT_TRUE(placement.ok()) << placement.status();
    const auto loaded = backend_->Load(block, *placement, {});
    EXPECT_EQ(loaded.status(), absl::UnavailableError("the file became shorter"));
  }
}

}  // namespace
}  // namespace mlpserve
