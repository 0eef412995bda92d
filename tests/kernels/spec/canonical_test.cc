#include "kernels/spec/canonical.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "kernels/reference/oracle.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Op Scale(double value) { return {MultiplyAdd{.scale = {.value = value}}}; }
Op Shift(double value) { return {MultiplyAdd{.shift = {.value = value}}}; }
Op ScaleColumn(int column) { return {MultiplyAdd{.scale = {.column = column}}}; }
Op ShiftColumn(int column) { return {MultiplyAdd{.shift = {.column = column}}}; }
Op Of(Function function) { return {Pointwise{.function = function}}; }

LayerSpec Layer(std::vector<Op> ops, std::vector<std::vector<float>> columns = {}) {
  return {.name = "fc",
          .inputs = 1,
          .outputs = 2,
          .weight = {1, 1},
          .epilogue = {.ops = std::move(ops), .columns = std::move(columns)}};
}

std::string Text(const LayerSpec& layer) { return ToString(Canonicalize(layer)); }

TEST(CanonicalizeTest, FoldsConstantsIntoOneMultiplyAdd) {
  EXPECT_EQ(Text(Layer({Scale(2), Shift(3), Scale(4), Shift(-1)})), "scale 8 shift 11");
}

TEST(CanonicalizeTest, BiasIsTheFirstShift) {
  LayerSpec layer = Layer({Scale(2)});
  layer.bias = {1, 5};
  const EpilogueSpec canonical = Canonicalize(layer);
  EXPECT_EQ(ToString(canonical), "scale 2 shift c0");
  EXPECT_EQ(canonical.columns, (std::vector<std::vector<float>>{{2, 10}}));
}

TEST(CanonicalizeTest, RunningBatchNormFoldsWithWhatSurroundsIt) {
  RunningBatchNorm norm{.weight = {.column = 0},
                        .bias = {.value = 1},
                        .mean = {.column = 1},
                        .variance = {.value = 3},
                        .eps = 1};
  const EpilogueSpec canonical =
      Canonicalize(Layer({Scale(2), {norm}, Shift(1)}, {{3, 4}, {5, 6}}));
  EXPECT_EQ(ToString(canonical), "scale c0 shift c1");
  // (2z - mean) / 2 * weight + 1 + 1
  EXPECT_EQ(canonical.columns, (std::vector<std::vector<float>>{{3, 4}, {-5.5, -10}}));
}

TEST(CanonicalizeTest, FoldsInFloat64AndRoundsOnce) {
  // In FP32, (1 + 2^-24) would be 1 and the sum 0.
  const EpilogueSpec canonical = Canonicalize(Layer({Shift(1), Shift(0x1p-30), Shift(-1)}));
  EXPECT_EQ(ToString(canonical), "scale 1 shift 9.313225746154785e-10");
  const EpilogueSpec rounded = Canonicalize(Layer({Scale(0.1)}));
  EXPECT_EQ(std::get<MultiplyAdd>(rounded.ops[0].value).scale.value, double{0.1f});
}

TEST(CanonicalizeTest, DropsAnIdentityAndFoldsAcrossIt) {
  EXPECT_EQ(Text(Layer({Scale(2), Scale(0.5)})), "");
  EXPECT_EQ(Text(Layer({{Clamp{.min = -1}}, Scale(2), Scale(0.5), {Clamp{.max = 1}}})),
            "clamp -1 1");
  EXPECT_EQ(Text(Layer({Scale(2), {Clamp{}}, Shift(1)})), "scale 2 shift 1");
}

TEST(CanonicalizeTest, AMultiplicationByZeroStays) {
  EXPECT_EQ(Text(Layer({Scale(0), Shift(1)})), "scale 0 shift 1");
}

TEST(CanonicalizeTest, EqualColumnsBecomeConstants) {
  EXPECT_EQ(Text(Layer({ScaleColumn(0), ShiftColumn(1)}, {{2, 2}, {3, 3}})), "scale 2 shift 3");
}

TEST(CanonicalizeTest, ColumnsAreSharedRenumberedAndDroppedWhereUnused) {
  const EpilogueSpec canonical = Canonicalize(Layer(
      {ScaleColumn(3), Of(Function::kRelu), ShiftColumn(1), Of(Function::kTanh), ScaleColumn(2)},
      {{9, 8}, {1, 2}, {1, 2}, {5, 6}}));
  EXPECT_EQ(ToString(canonical),
            "scale c0 shift 0 | relu | scale 1 shift c1 | tanh | "
            "scale c1 shift 0");
  EXPECT_EQ(canonical.columns, (std::vector<std::vector<float>>{{5, 6}, {1, 2}}));
}

TEST(CanonicalizeTest, ColumnsThatHoldNanOrInfinityStayColumns) {
  EXPECT_EQ(Text(Layer({ScaleColumn(0)}, {{kInf, kInf}})), "scale c0 shift 0");
  EXPECT_EQ(Text(Layer({ShiftColumn(0)}, {{kNan, kNan}})), "scale 1 shift c0");
}

TEST(CanonicalizeTest, WhatWouldLeaveFp32IsNotFolded) {
  EXPECT_EQ(Text(Layer({Scale(1e30), Scale(1e30)})),
            "scale 1.0000000150474662e+30 shift 0 | scale 1.0000000150474662e+30 shift 0");
  EXPECT_EQ(Text(Layer({Scale(0x1p-100), Scale(0x1p-100), Scale(0x1p100)})),
            "scale 7.888609052210118e-31 shift 0");
}

TEST(CanonicalizeTest, NeighbouringClampsMerge) {
  EXPECT_EQ(Text(Layer({{Clamp{.min = -2, .max = 2}}, {Clamp{.min = 0}}})), "clamp 0 2");
  EXPECT_EQ(Text(Layer({{Clamp{.min = 1, .max = 2}}, {Clamp{.min = 3, .max = 4}}})), "clamp 3 3");
}

TEST(CanonicalizeTest, KnownPairsOfOpsHaveOneForm) {
  EXPECT_EQ(Text(Layer({{Gate{{Of(Function::kSigmoid)}}}})), "silu");
  EXPECT_EQ(Text(Layer({Scale(3), {Residual{{Scale(1)}}}, Shift(1)})), "scale 6 shift 1");
  EXPECT_EQ(Text(Layer({{Gate{{{Clamp{}}}}}})), "gate(scale 1 shift 0)");
  EXPECT_EQ(Text(Layer({{Residual{{Scale(2), Shift(1)}}}})), "residual(scale 2 shift 1)");
}

BlockSpec RandomChain(uint64_t seed) {
  return RandomBlock({.features = {4, 4}, .max_ops = 8, .max_depth = 3, .batch_statistics = true},
                     seed);
}

TEST(CanonicalizeTest, IsIdempotent) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    LayerSpec layer = RandomChain(seed).layers[0];
    const EpilogueSpec once = Canonicalize(layer);
    layer.bias.clear();
    layer.epilogue = once;
    const EpilogueSpec twice = Canonicalize(layer);
    ASSERT_EQ(ToString(once), ToString(twice)) << "seed " << seed;
    ASSERT_EQ(once.columns, twice.columns) << "seed " << seed;
  }
}

TEST(CanonicalizeTest, MeansWhatWasWritten) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const BlockSpec written = RandomChain(seed);
    ASSERT_TRUE(Validate(written).ok()) << Validate(written) << Describe(written);
    BlockSpec canonical = written;
    canonical.layers[0].bias.clear();
    canonical.layers[0].epilogue = Canonicalize(written.layers[0]);
    ASSERT_TRUE(Validate(canonical).ok()) << Validate(canonical) << Describe(canonical);

    std::mt19937_64 random(seed);
    const std::vector<float> x = RandomRows(3, 4, DataType::kFp32, random);
    const OracleResult expected = EvaluateOracle(written, x, 3);
    const OracleResult result = EvaluateOracle(canonical, x, 3);
    const std::vector<float> actual(result.values.begin(), result.values.end());
    const WorstValue worst = FindWorst(expected, actual);
    ASSERT_TRUE(worst.ok()) << ToString(worst) << "\nseed " << seed << "\n"
                            << Describe(written) << "\n"
                            << Describe(canonical);
  }
}

// Every value of z with every value of the constants, NaN and infinity among them.
TEST(CanonicalizeTest, NanAndInfinityPassAsWritten) {
  const std::vector<float> specials = {0, 1, -2, 1e30f, 1e-30f, kInf, -kInf, kNan};
  const int64_t count = static_cast<int64_t>(specials.size());
  for (float first : specials) {
    for (float second : specials) {
      BlockSpec written;
      LayerSpec layer{.name = "fc", .inputs = 1, .outputs = 2, .weight = {1, 1}};
      layer.bias = {second, 1};
      layer.epilogue = {.ops = {ScaleColumn(0),
                                ShiftColumn(1),
                                ScaleColumn(1),
                                {Residual{{ScaleColumn(0)}}},
                                ShiftColumn(0)},
                        .columns = {{first, 2}, {second, 3}}};
      written.layers = {layer};
      BlockSpec canonical = written;
      canonical.layers[0].bias.clear();
      canonical.layers[0].epilogue = Canonicalize(layer);
      const OracleResult expected = EvaluateOracle(written, specials, count);
      const OracleResult result = EvaluateOracle(canonical, specials, count);
      const std::vector<float> actual(result.values.begin(), result.values.end());
      const WorstValue worst = FindWorst(expected, actual);
      ASSERT_TRUE(worst.ok()) << ToString(worst) << " first " << first << " second " << second
                              << "\n"
                              << Describe(canonical);
    }
  }
}

}  // namespace
}  // namespace mlpserve
