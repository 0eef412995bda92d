// NaN, infinity, subnormal numbers and overflow pass as in PyTorch.
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/spec/rounding.h"
#include "tests/conformance/conformance.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// One input that every output takes alone: a special value stays in its row.
BlockSpec OneInputEach(std::vector<Op> ops) {
  BlockSpec block{.name = "special"};
  LayerSpec layer{.name = "fc", .inputs = 1, .outputs = 19};
  layer.weight = std::vector<float>(19, 1);
  layer.epilogue.ops = std::move(ops);
  block.layers = {std::move(layer)};
  return block;
}

const std::vector<float>& Specials() {
  static const std::vector<float> values = {kNan,    kInf,  -kInf, 0.0f,   -0.0f,
                                            1.0f,    -1.0f, 88.0f, -88.0f, 104.0f,
                                            -104.0f, 1e4f,  -1e4f, 3.0f,   -3.0f};
  return values;
}

TEST_P(BackendConformance, NanAndInfinityPassThroughEveryFunction) {
  for (const FunctionInfo& info : kFunctions) {
    const Op op{Pointwise{.function = info.function, .parameter = 0.5}};
    for (const std::vector<Op>& ops :
         std::vector<std::vector<Op>>{{op}, {{Residual{{op}}}}, {{Gate{{op}}}}}) {
      BlockSpec block = OneInputEach(ops);
      for (ComputeType compute : kComputeTypes) {
        block.compute = compute;
        ExpectMatchesOracle(block, Specials(), static_cast<int64_t>(Specials().size()), "special");
      }
    }
  }
}

TEST_P(BackendConformance, NanAndInfinityPassThroughClampAndMultiplyAdd) {
  for (const Op& op : std::vector<Op>{{Clamp{.min = -2, .max = 2}},
                                      {Clamp{.min = -2}},
                                      {Clamp{.max = 2}},
                                      {MultiplyAdd{.scale = {.value = 0}}},
                                      {MultiplyAdd{.scale = {.value = -2}, .shift = {.value = 1}}},
                                      {AddInput{}}}) {
    BlockSpec block = OneInputEach({op});
    if (std::holds_alternative<AddInput>(op.value)) {
      block.layers[0].outputs = 1;
      block.layers[0].weight = {-1};
    }
    for (DataType wire : kDataTypes) {
      block.input_type = block.output_type = wire;
      ExpectMatchesOracle(block, Specials(), static_cast<int64_t>(Specials().size()), "special");
    }
  }
}

TEST_P(BackendConformance, NanAndInfinityInWeightsAndColumnsReachTheirOutputsOnly) {
  std::mt19937_64 random(8);
  BlockSpec block{.name = "weights"};
  block.layers = {RandomLayer(40, 70, true, random)};
  LayerSpec& layer = block.layers[0];
  std::vector<float> weight = layer.weight.ToFloats().value();
  weight[3 * 40 + 7] = kNan;
  weight[65 * 40 + 39] = kInf;
  layer.weight = std::move(weight);
  layer.bias[10] = -kInf;
  layer.epilogue.columns = {std::vector<float>(70, 2)};
  layer.epilogue.columns[0][20] = kNan;
  layer.epilogue.columns[0][21] = -kInf;
  layer.epilogue.ops = {{MultiplyAdd{.scale = {.column = 0}}},
                        {Pointwise{.function = Function::kTanh}}};
  for (ComputeType compute : kComputeTypes) {
    block.compute = compute;
    ExpectMatchesOracle(block, RandomRows(9, 40, DataType::kFp32, random), 9, "special weights");
  }
}

TEST_P(BackendConformance, OneRowsNanDoesNotReachAnother) {
  std::mt19937_64 random(9);
  constexpr int64_t kFeatures = 30;
  BlockSpec block = RandomBlock({.features = {kFeatures, 40, 30}}, 9);
  std::vector<float> x = RandomRows(20, kFeatures, DataType::kFp32, random);
  x[4 * kFeatures + 2] = kNan;
  x[13 * kFeatures] = kInf;
  ExpectMatchesOracle(block, x, 20, "one row");
}

// Buffers of activations, partial sums and statistics outlive a batch: what NaN leaves in them must
// not come back. One loaded block, whose batches run in the same buckets one after the other.
TEST_P(BackendConformance, GoodRowsAfterRowsOfNanAreGood) {
  std::mt19937_64 random(10);
  constexpr int64_t kFeatures = 300;
  constexpr int64_t kMostRows = 100;
  for (const bool takes_statistics : {false, true}) {
    BlockSpec block{.name = "after_nan"};
    block.layers = {RandomLayer(kFeatures, 72, true, random), RandomLayer(72, 40, true, random)};
    if (takes_statistics) block.layers[0].epilogue.ops = {{BatchNorm{}}};
    for (const ComputeType compute : kComputeTypes) {
      block.compute = compute;
      const std::unique_ptr<LoadedBlock> loaded = Load(block, kMostRows);
      ASSERT_NE(loaded, nullptr);
      for (const int64_t rows : {2, 9, 40, 100}) {
        const std::vector<float> nan(static_cast<size_t>(rows * kFeatures), kNan);
        (void)RunLoaded(*loaded, block, nan, rows);
        const std::vector<float> x = RandomRows(rows, kFeatures, DataType::kFp32, random);
        const std::vector<float> y = RunLoaded(*loaded, block, x, rows);
        ExpectWithinBounds(block, EvaluateOracle(block, x, rows), x, y, "after NaN");
      }
    }
  }
}

// Sums of many terms, where FP32 may be made of products of shorter formats. Weights that TF32
// holds exactly, and zeros, stand beside those that it does not.
TEST_P(BackendConformance, InfinityAndNanInALongSumBecomeWhatFp32MakesOfThem) {
  std::mt19937_64 random(16);
  constexpr int64_t kInputs = 300;
  BlockSpec block{.name = "long"};
  block.layers = {RandomLayer(kInputs, 70, false, random)};
  std::vector<float> weight = block.layers[0].weight.ToFloats().value();
  for (size_t i = 0; i < weight.size(); i += 3) weight[i] = i % 2 == 0 ? 0 : -0.5f;
  block.layers[0].weight = std::move(weight);
  struct Special {
    size_t at;
    float value;
  };
  const std::vector<std::vector<Special>> rows = {{{0, kInf}},
                                                  {{299, -kInf}},
                                                  {{7, kNan}},
                                                  {{1, kInf}, {2, kInf}},
                                                  {{1, kInf}, {2, -kInf}},
                                                  {{5, kNan}, {6, kInf}},
                                                  {{31, kInf}, {32, 0}},
                                                  {{33, -0.0f}}};
  std::vector<float> x =
      RandomRows(static_cast<int64_t>(rows.size()), kInputs, DataType::kFp32, random);
  for (size_t row = 0; row < rows.size(); ++row) {
    for (const Special& special : rows[row]) x[row * kInputs + special.at] = special.value;
  }
  for (ComputeType compute : kComputeTypes) {
    block.compute = compute;
    ExpectMatchesOracle(block, x, static_cast<int64_t>(rows.size()), "long sum");
  }
}

TEST_P(BackendConformance, RowsOfEveryMagnitudeKeepFp32sPrecision) {
  std::mt19937_64 random(17);
  for (const int64_t inputs : {33, 257, 300}) {
    BlockSpec block{.name = "magnitudes"};
    block.layers = {RandomLayer(inputs, 70, false, random)};
    std::vector<int> exponents;
    for (int exponent = -149; exponent <= 120; exponent += 7) exponents.push_back(exponent);
    const auto rows = static_cast<int64_t>(exponents.size());
    const std::vector<float> normal = RandomRows(rows, inputs, DataType::kFp32, random);
    std::vector<float> x = normal;
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = std::ldexp(normal[i], exponents[i / static_cast<size_t>(inputs)]);
    }
    ExpectMatchesOracle(block, x, rows, "rows");
    // And where weights are as far from one.
    for (const int exponent : {-130, -110, -80, 30, 60}) {
      BlockSpec scaled = block;
      std::vector<float> weight = block.layers[0].weight.ToFloats().value();
      for (float& w : weight) w = std::ldexp(w, exponent);
      scaled.layers[0].weight = std::move(weight);
      for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(normal[i], -exponent / 2);
      ExpectMatchesOracle(scaled, x, rows, "weights");
    }
  }
}

// Beside a large value a small one must not lose the sums that it has to itself.
TEST_P(BackendConformance, SmallValuesBesideLargeOnesAreKept) {
  constexpr int64_t kInputs = 257;
  BlockSpec block{.name = "identity"};
  std::vector<float> weight(kInputs * kInputs, 0);
  for (size_t i = 0; i < kInputs; ++i) weight[i * kInputs + i] = 1;
  block.layers = {
      {.name = "fc", .inputs = kInputs, .outputs = kInputs, .weight = std::move(weight)}};
  std::vector<float> x;
  for (int i = 0; i < kInputs; ++i) x.push_back(std::ldexp(1.2345678f, 10 - 4 * (i % 40)));
  const std::vector<float> y = Run(block, x, 1);
  const OracleResult expected = EvaluateOracle(block, x, 1);
  const WorstValue worst = FindWorst(expected, y);
  EXPECT_TRUE(worst.ok()) << ToString(worst);
}

TEST_P(BackendConformance, SubnormalNumbersAreKept) {
  std::mt19937_64 random(10);
  const std::vector<float> tiny = {0x1p-149f, 0x1p-140f, -0x1p-130f, 0x1p-127f, 1e-38f,   0x1p-24f,
                                   -0x1p-20f, 0x1p-15f,  6e-8f,      -1e-44f,   0x1p-126f};
  for (ComputeType compute : kComputeTypes) {
    for (DataType wire : kDataTypes) {
      BlockSpec block = OneInputEach({});
      block.compute = compute;
      block.input_type = block.output_type = wire;
      std::vector<float> x = tiny;
      for (float& value : x) {
        std::byte element[4];
        WriteElement(wire, value, element);
        value = ReadElement(wire, element);
      }
      const int64_t rows = static_cast<int64_t>(x.size());
      const std::vector<float> y = Run(block, x, rows);
      const OracleResult expected = EvaluateOracle(block, x, rows);
      const WorstValue worst = FindWorst(expected, y);
      EXPECT_TRUE(worst.ok()) << ToString(worst) << "\n" << Describe(block);
    }
  }
}

TEST_P(BackendConformance, WhatOverflowsTheOutputFormatIsInfinity) {
  BlockSpec block = OneInputEach({{MultiplyAdd{.scale = {.value = 4}}}});
  block.output_type = DataType::kFp16;
  const std::vector<float> y = Run(block, {16000, 16384, -17000}, 3);
  ASSERT_EQ(y.size(), 57u);
  EXPECT_EQ(y[0], 64000);
  EXPECT_EQ(y[19], kInf);
  EXPECT_EQ(y[38], -kInf);
}

}  // namespace
}  // namespace mlpserve
