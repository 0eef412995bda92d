#include "server/tools/bench/problem.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/spec/rounding.h"

namespace mlpserve::tools {
namespace {

Problem Named(const char* name, int64_t m, int64_t n, int64_t k, ComputeType compute) {
  return {.m = m, .n = n, .k = k, .compute = compute, .epilogue = *NamedEpilogue(name)};
}

TEST(BenchProblemTest, EveryNamedEpilogueIsALayerThatBackendsTake) {
  for (const std::string& name : EpilogueNames()) {
    const Problem problem = Named(name.c_str(), 2, 12, 8, ComputeType::kBf16);
    EXPECT_TRUE(Validate(problem).ok()) << Validate(problem);
    const LayerSpec layer = MakeLayer(problem, MakeWeight(12, 8));
    const BlockSpec block{.name = "bench", .compute = problem.compute, .layers = {layer}};
    EXPECT_TRUE(mlpserve::Validate(block).ok()) << mlpserve::Validate(block);
    EXPECT_EQ(layer.bias.size(), 12u);
  }
}

TEST(BenchProblemTest, NumbersAreNormalAndDependOnTheSeedAlone) {
  const std::vector<float> numbers = NormalNumbers(100'000, 1, 2);
  double sum = 0, squares = 0;
  for (const float v : numbers) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  EXPECT_NEAR(sum / 1e5, 0, 0.03);
  EXPECT_NEAR(squares / 1e5, 4, 0.08);
  EXPECT_EQ(NormalNumbers(100'000, 1, 2), numbers);
  EXPECT_NE(NormalNumbers(100'000, 2, 2), numbers);
  const std::vector<float> fewer = NormalNumbers(10, 1, 2);
  EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), numbers.begin()));
}

TEST(BenchProblemTest, RowsAreAsTheyAreStored) {
  for (const float v : MakeRows(Named("linear", 3, 8, 50, ComputeType::kBf16))) {
    EXPECT_EQ(v, RoundTo(ComputeType::kBf16, v));
  }
  // What reads TF32 rounds it: were the rows rounded already, no test could see that.
  const std::vector<float> rows = MakeRows(Named("linear", 3, 8, 50, ComputeType::kTf32));
  EXPECT_TRUE(std::ranges::any_of(rows, [](float v) { return v != RoundToTf32(v); }));
}

TEST(BenchProblemTest, VariancesArePositive) {
  const Problem problem = Named("batch_norm", 2, 1000, 8, ComputeType::kBf16);
  const LayerSpec layer = MakeLayer(problem, MakeWeight(1000, 8));
  const auto& norm = std::get<RunningBatchNorm>(layer.epilogue.ops[1].value);
  const auto& variances = layer.epilogue.columns[static_cast<size_t>(norm.variance.column)];
  EXPECT_GE(*std::ranges::min_element(variances), 0.5f);
  const auto& means = layer.epilogue.columns[static_cast<size_t>(norm.mean.column)];
  EXPECT_LT(*std::ranges::min_element(means), 0);
}

}  // namespace
}  // namespace mlpserve::tools
