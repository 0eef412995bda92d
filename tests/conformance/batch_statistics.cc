// Batch norm with the statistics of the batch.
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

BlockSpec NormBlock(std::vector<Op> before, std::vector<Op> after, std::mt19937_64& random) {
  BlockSpec block{.name = "norm"};
  block.layers = {RandomLayer(40, 70, true, random), RandomLayer(70, 5, false, random)};
  LayerSpec& layer = block.layers[0];
  const std::vector<float> column = RandomRows(1, 140, DataType::kFp32, random);
  layer.epilogue.columns = {{column.begin(), column.begin() + 70},
                            {column.begin() + 70, column.end()}};
  layer.epilogue.ops = std::move(before);
  layer.epilogue.ops.push_back({BatchNorm{.weight = {.column = 0}, .bias = {.column = 1}}});
  for (Op& op : after) layer.epilogue.ops.push_back(std::move(op));
  return block;
}

TEST_P(BackendConformance, BatchStatisticsMatchTheOracleForAnyNumberOfRows) {
  std::mt19937_64 random(11);
  BlockSpec block = NormBlock({{MultiplyAdd{.scale = {.value = 3}}}},
                              {{Pointwise{.function = Function::kGeluErf}}}, random);
  for (int64_t rows : {2, 3, 31, 33, 64, 1000, 4099, 10007}) {
    ExpectMatchesOracle(block, RandomRows(rows, 40, DataType::kFp32, random), rows, "rows");
  }
}

TEST_P(BackendConformance, BatchStatisticsMatchTheOracleInEveryFormat) {
  std::mt19937_64 random(12);
  BlockSpec block = NormBlock({}, {}, random);
  for (ComputeType compute : kComputeTypes) {
    for (DataType wire : kDataTypes) {
      block.compute = compute;
      block.input_type = block.output_type = wire;
      for (int64_t rows : {50, 130}) {
        ExpectMatchesOracle(block, RandomRows(rows, 40, wire, random), rows, "format");
      }
    }
  }
}

// More than one tile of every kernel both ways, the last ones in part.
TEST_P(BackendConformance, BatchStatisticsOfManyTilesMatchTheOracle) {
  std::mt19937_64 random(16);
  BlockSpec block{.name = "tiles"};
  block.layers = {RandomLayer(24, 1030, true, random)};
  block.layers[0].epilogue.ops = {{Pointwise{.function = Function::kSilu}},
                                  {BatchNorm{.weight = {.value = 2}, .bias = {.value = -1}}},
                                  {Clamp{-3, 3}}};
  for (ComputeType compute : {ComputeType::kBf16, ComputeType::kTf32}) {
    block.compute = compute;
    for (int64_t rows : {65, 129, 257, 1500}) {
      ExpectMatchesOracle(block, RandomRows(rows, 24, DataType::kFp32, random), rows, "tiles");
    }
  }
}

TEST_P(BackendConformance, ARowThatIsNotFiniteLeavesNoNumberInItsColumns) {
  BlockSpec block{.name = "nan", .compute = ComputeType::kBf16};
  block.layers = {{.name = "fc", .inputs = 2, .outputs = 2, .weight = {1, 0, 0, 1}}};
  block.layers[0].epilogue.ops = {{BatchNorm{}}};
  for (float odd : {std::numeric_limits<float>::quiet_NaN(), INFINITY}) {
    constexpr int64_t kRows = 200;
    std::vector<float> x;
    for (int64_t row = 0; row < kRows; ++row) {
      x.push_back(static_cast<float>(row % 2));
      x.push_back(static_cast<float>(row % 2));
    }
    x[150] = odd;  // 0 · infinity carries it into the other column
    const std::vector<float> y = Run(block, x, kRows);
    for (float value : y) EXPECT_TRUE(std::isnan(value)) << value;
  }
}

TEST_P(BackendConformance, SeveralBatchNormsInOneEpilogueMatchTheOracle) {
  std::mt19937_64 random(13);
  const Op norm{BatchNorm{.weight = {.value = 0.5}, .bias = {.value = 0.1}}};
  BlockSpec block =
      NormBlock({norm, {Pointwise{.function = Function::kSoftplus}}},
                {norm, {Residual{{{Pointwise{.function = Function::kSigmoid}}}}}}, random);
  ExpectMatchesOracle(block, RandomRows(77, 40, DataType::kFp32, random), 77, "three");
}

// A mean 3,000 times the deviation: sums of squares in FP32 would leave nothing of the variance.
TEST_P(BackendConformance, AMeanFarFromZeroDoesNotDrownTheVariance) {
  std::mt19937_64 random(14);
  BlockSpec block{.name = "offset"};
  block.layers = {{.name = "fc", .inputs = 1, .outputs = 70}};
  block.layers[0].weight = std::vector<float>(70, 1);
  block.layers[0].epilogue.ops = {{BatchNorm{}}};
  std::vector<float> x = RandomRows(500, 1, DataType::kFp32, random);
  for (float& value : x) value = 3000 + value;
  for (ComputeType compute : {ComputeType::kFp32, ComputeType::kTf32}) {
    block.compute = compute;
    ExpectMatchesOracle(block, x, 500, "offset");
  }
}

TEST_P(BackendConformance, AColumnWithoutVarianceBecomesItsBias) {
  BlockSpec block{.name = "constant"};
  block.layers = {{.name = "fc", .inputs = 1, .outputs = 3, .weight = {0, 0, 0}}};
  block.layers[0].epilogue.ops = {{BatchNorm{.bias = {.value = 0.75}}}};
  const std::vector<float> y = Run(block, {1, 2, 3, 4}, 4);
  EXPECT_EQ(y, std::vector<float>(12, 0.75f));
}

TEST_P(BackendConformance, RandomBlocksWithBatchStatisticsMatchTheOracle) {
  std::mt19937_64 random(15);
  for (int i = 0; i < GetParam().random_blocks; ++i) {
    const uint64_t seed = random();
    BlockSpec block =
        RandomBlock({.features = {20, 90, 20}, .max_depth = 1, .batch_statistics = true}, seed);
    std::mt19937_64 choice(seed);
    const int64_t rows = 2 + static_cast<int64_t>(choice() % 150);
    ExpectMatchesOracle(block, RandomRows(rows, 20, DataType::kFp32, choice), rows,
                        absl::StrCat("seed ", seed));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace mlpserve
