// Every op alone, in every compute type, and random chains of them.
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

constexpr double kInf = std::numeric_limits<double>::infinity();

Op Of(Function function, double parameter = 0) {
  return {Pointwise{.function = function, .parameter = parameter}};
}

std::vector<Op> EveryFunction() {
  std::vector<Op> ops;
  for (const FunctionInfo& info : kFunctions) ops.push_back(Of(info.function, 0.3));
  return ops;
}

// Column 0 is a scale or a weight, 1 a shift, 2 a variance.
std::vector<Op> EveryOp() {
  std::vector<Op> ops = EveryFunction();
  const Op sigmoid = Of(Function::kSigmoid);
  const Op twice{MultiplyAdd{.scale = {.value = 2}}};
  for (const Op& op : std::vector<Op>{
           {MultiplyAdd{.scale = {.value = -1.5}}},
           {MultiplyAdd{.scale = {.column = 0}}},
           {MultiplyAdd{.shift = {.value = 0.7}}},
           {MultiplyAdd{.shift = {.column = 1}}},
           {MultiplyAdd{.scale = {.column = 0}, .shift = {.column = 1}}},
           {Clamp{.min = -1, .max = 2}},
           {Clamp{.min = -kInf, .max = 0.5}},
           {Clamp{.min = 0.25}},
           {AddInput{}},
           {RunningBatchNorm{.weight = {.column = 0},
           .bias = {.column = 1},
           .mean = {.column = 1},
           .variance = {.column = 2}}},
           {Residual{{sigmoid, twice}}},
           {Gate{{sigmoid}}},
           {Gate{{Of(Function::kTanh), twice}}},
           {Residual{{{Gate{{Of(Function::kTanh), {AddInput{}}}}}, sigmoid}}},
           {Residual{{{Residual{{{Residual{{sigmoid}}}, {Gate{{sigmoid, twice}}}}}}}}},
       }) {
    ops.push_back(op);
  }
  return ops;
}

BlockSpec BlockWith(Op op, std::mt19937_64& random) {
  BlockSpec block{.name = "op"};
  block.layers = {RandomLayer(33, 33, true, random)};
  LayerSpec& layer = block.layers[0];
  std::vector<float> weight = layer.weight.ToFloats().value();
  for (float& w : weight) w *= 4;  // wide values, to reach the functions' tails
  layer.weight = std::move(weight);
  std::normal_distribution<float> normal;
  layer.epilogue.columns.resize(3);
  for (int64_t i = 0; i < layer.outputs; ++i) {
    layer.epilogue.columns[0].push_back(normal(random));
    layer.epilogue.columns[1].push_back(normal(random));
    layer.epilogue.columns[2].push_back(0.1f + std::abs(normal(random)));
  }
  layer.epilogue.ops = {std::move(op)};
  return block;
}

TEST_P(BackendConformance, EveryOpAloneMatchesTheOracle) {
  std::mt19937_64 random(1);
  for (const Op& op : EveryOp()) {
    BlockSpec block = BlockWith(op, random);
    for (ComputeType compute : kComputeTypes) {
      block.compute = compute;
      ExpectMatchesOracle(block, RandomRows(19, 33, DataType::kFp32, random), 19, "one op");
    }
  }
}

// One input, weight one: the function's own error, over 20,000 values from -30 to 30 and around 0.
TEST_P(BackendConformance, FunctionsHoldOverTheirWholeRange) {
  std::vector<float> x;
  for (int i = -10000; i < 10000; ++i) {
    x.push_back(static_cast<float>(i) * 0.003f);
    x.push_back(static_cast<float>(i) * 1e-5f);
  }
  for (const Op& op : EveryFunction()) {
    BlockSpec block{.name = "function"};
    block.layers = {{.name = "fc", .inputs = 1, .outputs = 1, .weight = {1}}};
    block.layers[0].epilogue.ops = {op};
    ExpectMatchesOracle(block, x, static_cast<int64_t>(x.size()), "range");
  }
}

TEST_P(BackendConformance, RandomBlocksMatchTheOracle) {
  std::mt19937_64 random(7);
  for (int i = 0; i < GetParam().random_blocks; ++i) {
    const uint64_t seed = random();
    std::mt19937_64 choice(seed);
    const auto pick = [&choice](int64_t first, int64_t last) {
      return std::uniform_int_distribution<int64_t>(first, last)(choice);
    };
    RandomBlockOptions options{.features = {pick(1, 70)}};
    const int64_t layers = pick(1, 4);
    for (int64_t l = 0; l < layers; ++l) {
      // Half of the layers can add the block's input.
      options.features.push_back(pick(0, 1) == 0 ? options.features.front() : pick(1, 150));
    }
    options.batch_statistics = pick(0, 3) == 0;
    BlockSpec block = RandomBlock(options, seed);
    block.compute = kComputeTypes[pick(0, 3)];
    block.input_type = kDataTypes[pick(0, 2)];
    block.output_type = kDataTypes[pick(0, 2)];
    block.batch_invariant = pick(0, 1) == 1;
    const int64_t rows = pick(UsesBatchStatistics(block) ? 2 : 1, 100);
    const std::vector<float> x = RandomRows(rows, block.input_features(), block.input_type, choice);
    ExpectMatchesOracle(block, x, rows, absl::StrCat("seed ", seed));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace mlpserve
