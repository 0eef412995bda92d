#include "kernels/reference/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/reference/bounded.h"
#include "kernels/spec/rounding.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// y = epilogue(x), one feature.
BlockSpec Identity(std::vector<Op> ops) {
  BlockSpec block{.name = "identity"};
  block.layers = {{.name = "fc",
                   .inputs = 1,
                   .outputs = 1,
                   .weight = {1},
                   .epilogue = {.ops = std::move(ops), .columns = {}}}};
  return block;
}

double At(Function function, float x, double parameter = 0) {
  const BlockSpec block = Identity({{Pointwise{.function = function, .parameter = parameter}}});
  return EvaluateOracle(block, {&x, 1}, 1).values[0];
}

// Expected values: torch.nn.functional on float64 tensors.
TEST(OracleTest, FunctionsAreThoseOfPyTorch) {
  EXPECT_NEAR(At(Function::kGeluErf, -1), -0.15865525393145707, 1e-15);
  EXPECT_NEAR(At(Function::kGeluTanh, -1), -0.15880800939172324, 1e-15);
  EXPECT_NEAR(At(Function::kSilu, 2), 1.7615941559557649, 1e-15);
  EXPECT_NEAR(At(Function::kMish, 1), 0.86509838826731034, 1e-15);
  EXPECT_NEAR(At(Function::kSoftplus, 1), 1.3132616875182228, 1e-15);
  EXPECT_NEAR(At(Function::kElu, -1, 2), -1.2642411176571153, 1e-15);
  EXPECT_NEAR(At(Function::kSigmoid, 1), 0.7310585786300049, 1e-15);
  EXPECT_NEAR(At(Function::kTanh, 1), 0.7615941559557649, 1e-15);
  EXPECT_NEAR(At(Function::kHardsigmoid, 1), 2.0 / 3, 1e-15);
  EXPECT_NEAR(At(Function::kHardswish, 1), 2.0 / 3, 1e-15);
  EXPECT_NEAR(At(Function::kLeakyRelu, -1, 0.01), -0.01, 1e-15);
  EXPECT_EQ(At(Function::kRelu, -1), 0);
}

TEST(OracleTest, NanPassesThroughEveryFunction) {
  for (const FunctionInfo& info : kFunctions) {
    EXPECT_TRUE(std::isnan(At(info.function, kNan, 1))) << info.text;
  }
  EXPECT_TRUE(std::isnan(
      EvaluateOracle(Identity({{Clamp{.min = -1, .max = 1}}}), std::vector<float>{kNan}, 1)
          .values[0]));
}

TEST(OracleTest, InfinityPassesAsInPyTorch) {
  struct Case {
    Function function;
    float at_minus_infinity;
    float at_infinity;
  };
  const std::vector<Case> cases = {
      {Function::kRelu, 0, kInf},       {Function::kLeakyRelu, -kInf, kInf},
      {Function::kElu, -1, kInf},       {Function::kSigmoid, 0, 1},
      {Function::kTanh, -1, 1},         {Function::kSilu, kNan, kInf},
      {Function::kMish, kNan, kInf},    {Function::kSoftplus, 0, kInf},
      {Function::kHardsigmoid, 0, 1},   {Function::kHardswish, kNan, kInf},
      {Function::kGeluErf, kNan, kInf}, {Function::kGeluTanh, kNan, kInf},
  };
  ASSERT_EQ(cases.size(), kFunctions.size());
  for (const Case& c : cases) {
    const std::string_view f = InfoOf(c.function).text;
    const double low = At(c.function, -kInf, 1);
    EXPECT_TRUE(std::isnan(c.at_minus_infinity) ? std::isnan(low) : low == c.at_minus_infinity)
        << f << ": " << low;
    EXPECT_EQ(At(c.function, kInf, 1), c.at_infinity) << f;
  }
}

TEST(OracleTest, NoFunctionIsSteeperThanTheTableSays) {
  constexpr double kStep = 0x1p-12;
  for (const FunctionInfo& info : kFunctions) {
    for (const double parameter : {0.3, 1.0, -2.5}) {
      const Pointwise op{.function = info.function, .parameter = parameter};
      double steepest = 0;
      for (double z = -30; z < 30; z += kStep) {
        const double rise = reference::Evaluate(op, z + kStep) - reference::Evaluate(op, z);
        steepest = std::max(steepest, std::fabs(rise) / kStep);
      }

      EXPECT_LE(steepest, SteepestSlope(info.function, parameter) * (1 + 1e-4)) << info.text;
      EXPECT_GE(steepest, 0.98 * SteepestSlope(info.function, parameter)) << info.text;
    }
  }
}

TEST(OracleTest, RoundsOperandsToTheComputeTypeButNotAddInputInTf32) {
  const float x = 1 + 0x1p-11f;  // 1 in TF32, FP16 and BF16
  BlockSpec block = Identity({});
  for (ComputeType type : {ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    block.compute = type;
    EXPECT_EQ(EvaluateOracle(block, {&x, 1}, 1).values[0], 1) << Name(type);
  }
  block.layers[0].epilogue.ops = {{AddInput{}}};
  EXPECT_EQ(EvaluateOracle(block, {&x, 1}, 1).values[0], 2);
  block.compute = ComputeType::kTf32;
  EXPECT_EQ(EvaluateOracle(block, {&x, 1}, 1).values[0], 1 + double{x});
}

TEST(OracleTest, BatchStatisticsAreThoseOfTheRowsGiven) {
  BlockSpec block = Identity({{BatchNorm{.weight = {.value = 2}, .bias = {.value = 1}, .eps = 1}}});
  const std::vector<float> x = {1, 3, 8};
  const OracleResult result = EvaluateOracle(block, x, 3);
  const double deviation = std::sqrt(26.0 / 3 + 1);
  EXPECT_NEAR(result.values[0], -3 / deviation * 2 + 1, 1e-14);
  EXPECT_NEAR(result.values[2], 4 / deviation * 2 + 1, 1e-14);
  EXPECT_LT(result.bounds[0], 1e-5);
}

TEST(OracleTest, BoundsFollowTheFormula) {
  BlockSpec block = Identity({});
  block.layers[0].inputs = 4;
  block.layers[0].weight = {1, 1, 1, 1};
  block.layers[0].bias = {-1};
  const std::vector<float> x = {1, -1, 2, 4};  // z = 5, S = 9
  const double product = 0x1p-22 * 2 * 9;
  EXPECT_NEAR(EvaluateOracle(block, x, 1).bounds[0], product + 0x1p-24 * 5, 1e-12);
  block.output_type = DataType::kBf16;
  EXPECT_NEAR(EvaluateOracle(block, x, 1).bounds[0], product + 0x1p-8 * 5, 1e-7);
  block.layers[0].epilogue.ops = {{Pointwise{.function = Function::kSigmoid}}};
  block.output_type = DataType::kFp32;
  EXPECT_NEAR(EvaluateOracle(block, x, 1).bounds[0], product / 4 + (0x1p-22 + 0x1p-24), 1e-8);
}

TEST(OracleTest, ClaimsNothingOfWhatOverflowsFp32AndInfinityOfWhatOverflowsTheFormat) {
  const float large = 3e38f;
  BlockSpec block = Identity({{MultiplyAdd{.scale = {.value = 2}}}, {Clamp{.max = 1}}});
  EXPECT_EQ(EvaluateOracle(block, {&large, 1}, 1).bounds[0], kInf);
  const float half_too_large = 70000;
  block = Identity({});
  block.output_type = DataType::kFp16;
  EXPECT_EQ(EvaluateOracle(block, {&half_too_large, 1}, 1).values[0], kInf);
  EXPECT_EQ(EvaluateOracle(block, {&half_too_large, 1}, 1).bounds[0], 0);
}

TEST(FindWorstTest, LocatesTheValueFurthestOutOfBounds) {
  const OracleResult expected{
      .rows = 2, .columns = 2, .values = {1, 2, 3, 4}, .bounds = {0.1, 0.1, 0.1, 0.1}};
  const WorstValue worst = FindWorst(expected, std::vector<float>{1, 2.05f, 3.5f, 4});
  EXPECT_FALSE(worst.ok());
  EXPECT_EQ(ToString(worst),
            "worst at row 1, column 0: expected 3, actual 3.5, bound 0.1 (5 of it)");
  EXPECT_TRUE(FindWorst(expected, std::vector<float>{1, 2.05f, 3, 4}).ok());
  EXPECT_FALSE(FindWorst(expected, std::vector<float>{1, 2, 3}).ok());
}

TEST(FindWorstTest, NanAndInfinityMustBeWhereTheyAreExpected) {
  const OracleResult expected{
      .rows = 1, .columns = 2, .values = {std::nan(""), HUGE_VAL}, .bounds = {0, 0}};
  EXPECT_TRUE(FindWorst(expected, std::vector<float>{kNan, kInf}).ok());
  EXPECT_FALSE(FindWorst(expected, std::vector<float>{1, kInf}).ok());
  EXPECT_FALSE(FindWorst(expected, std::vector<float>{kNan, -kInf}).ok());
  EXPECT_FALSE(FindWorst(expected, std::vector<float>{kNan, kNan}).ok());
}

// Products in float64 as FinishOracle takes them, by loops of the test's own.
ProductSums Multiply(const LayerSpec& layer, ComputeType compute, const std::vector<float>& x) {
  ProductSums product;
  const std::vector<float> weight = layer.weight.ToFloats().value();
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(layer.inputs)) {
    for (size_t w = 0; w < weight.size(); w += static_cast<size_t>(layer.inputs)) {
      double sum = 0, magnitude = 0;
      for (size_t i = 0; i < static_cast<size_t>(layer.inputs); ++i) {
        const double term =
            static_cast<double>(RoundTo(compute, x[row + i])) * RoundTo(compute, weight[w + i]);
        sum += term;
        magnitude += std::fabs(term);
      }
      product.sums.push_back(sum);
      product.magnitudes.push_back(magnitude);
    }
  }
  return product;
}

TEST(FinishOracleTest, GivesWhatTheWholeOracleGives) {
  for (const ComputeType compute :
       {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      BlockSpec block = RandomBlock({.features = {8, 8}, .batch_statistics = true}, seed);
      block.compute = compute;
      block.input_type = block.output_type = StorageType(compute);
      std::mt19937_64 random(seed);
      const std::vector<float> x = RandomRows(5, 8, block.input_type, random);
      const OracleResult whole = EvaluateOracle(block, x, 5);
      const LayerSpec& layer = block.layers[0];
      const OracleResult finished =
          FinishOracle(layer, compute, block.output_type, Multiply(layer, compute, x), x, 5);
      ASSERT_EQ(finished.values.size(), whole.values.size());
      for (size_t i = 0; i < whole.values.size(); ++i) {
        const double small = 1e-9 * (1 + std::fabs(whole.values[i]));
        ASSERT_NEAR(finished.values[i], whole.values[i], small) << Describe(block);
        ASSERT_NEAR(finished.bounds[i], whole.bounds[i], 1e-6 * whole.bounds[i]) << Describe(block);
      }
    }
  }
}

TEST(PlainFp32Test, AgreesWithTheOracleWithinItsBounds) {
  BlockSpec block = Identity({{Residual{
      {{Pointwise{.function = Function::kSigmoid}}, {MultiplyAdd{.scale = {.value = 2}}}}}}});
  const std::vector<float> x = {-2, -0.5, 0, 0.1f, 7};
  const OracleResult expected = EvaluateOracle(block, x, 5);
  const std::vector<float> plain = EvaluatePlainFp32(block, x, 5);
  EXPECT_TRUE(FindWorst(expected, plain).ok()) << ToString(FindWorst(expected, plain));
  EXPECT_LT(RelativeError(expected, plain), 2e-7);
  EXPECT_GT(RelativeError(expected, plain), 0);
}

}  // namespace
}  // namespace mlpserve
