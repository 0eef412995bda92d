#include "kernels/spec/block.h"

#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using ::testing::HasSubstr;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr float kNanColumn = std::numeric_limits<float>::quiet_NaN();

// Two layers, 3 → 2 → 3, with columns in the second.
BlockSpec ValidBlock() {
  BlockSpec block{.name = "b"};
  block.layers.push_back({.name = "fc0", .inputs = 3, .outputs = 2, .weight = {1, 2, 3, 4, 5, 6}});
  block.layers.push_back({.name = "fc1", .inputs = 2, .outputs = 3, .weight = {1, 2, 3, 4, 5, 6}});
  block.layers[1].bias = {1, 2, 3};
  block.layers[1].epilogue.columns = {{1, 2, 3}, {4, 5, 6}};
  return block;
}

BlockSpec WithOps(std::vector<Op> ops) {
  BlockSpec block = ValidBlock();
  block.layers[1].epilogue.ops = std::move(ops);
  return block;
}

void ExpectInvalid(const BlockSpec& block, const std::string& where, const std::string& what) {
  const absl::Status status = Validate(block);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(where));
  EXPECT_THAT(std::string(status.message()), HasSubstr(what));
}

void ExpectInvalidOp(Op op, const std::string& what) {
  ExpectInvalid(WithOps({{AddInput{}}, std::move(op)}), "layers[1] \"fc1\": epilogue[1]", what);
}

TEST(ValidateTest, AcceptsEveryOp) {
  const Op sigmoid{Pointwise{.function = Function::kSigmoid}};
  const absl::Status status = Validate(WithOps({
      {MultiplyAdd{.scale = {.column = 0}, .shift = {.column = 1}}},
      {Clamp{}},
      {Clamp{.min = -kInf, .max = 1}},
      sigmoid,
      {Residual{{sigmoid, {Gate{{sigmoid, {AddInput{}}}}}}}},
      {RunningBatchNorm{.variance = {.value = 0}, .eps = 1e-5}},
      {BatchNorm{}},
  }));
  EXPECT_TRUE(status.ok()) << status;
}

TEST(ValidateTest, LetsNanAndInfinityPassInWeightsAndColumns) {
  BlockSpec block = WithOps({{RunningBatchNorm{.variance = {.column = 0}}}});
  block.layers[0].weight = {kNanColumn, 2, 3, 4, 5, 6};
  block.layers[1].bias[0] = std::numeric_limits<float>::infinity();
  block.layers[1].epilogue.columns[0][1] = kNanColumn;
  EXPECT_TRUE(Validate(block).ok()) << Validate(block);
}

TEST(ValidateTest, RefusesABlockWithoutLayers) {
  ExpectInvalid(BlockSpec{}, "layers", "expected at least one layer, found none");
}

TEST(ValidateTest, RefusesSizesOutOfRange) {
  for (int64_t size : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    BlockSpec block = ValidBlock();
    block.layers[0].inputs = size;
    ExpectInvalid(block, "layers[0] \"fc0\"", "expected inputs and outputs between 1 and");
    block = ValidBlock();
    block.layers[1].outputs = size;
    ExpectInvalid(block, "layers[1] \"fc1\"", "expected inputs and outputs between 1 and");
  }
}

TEST(ValidateTest, RefusesWeightsAndBiasesOfTheWrongSize) {
  BlockSpec block = ValidBlock();
  block.layers[0].weight = {1, 2, 3, 4, 5};
  ExpectInvalid(block, "layers[0] \"fc0\"", "weight expected [2, 3] = 6 values, found 5");
  block = ValidBlock();
  block.layers[1].bias.push_back(0);
  ExpectInvalid(block, "layers[1] \"fc1\"", "bias expected 3 values or none, found 4");
}

TEST(ValidateTest, RefusesLayersThatDoNotFitTogether) {
  BlockSpec block = ValidBlock();
  block.layers[1].inputs = 3;
  block.layers[1].outputs = 2;
  block.layers[1].bias.clear();
  ExpectInvalid(block, "layers[1] \"fc1\"",
                "inputs expected 2, the outputs of the layer before, found 3");
}

TEST(ValidateTest, RefusesColumnsOfTheWrongSize) {
  BlockSpec block = ValidBlock();
  block.layers[1].epilogue.columns[1].pop_back();
  ExpectInvalid(block, "layers[1] \"fc1\": epilogue.columns[1]",
                "expected 3 values, one for each output, found 2");
}

TEST(ValidateTest, RefusesColumnsThatAreNotThere) {
  ExpectInvalidOp({MultiplyAdd{.scale = {.column = 2}}},
                  "scale expected a column below 2, found 2");
  ExpectInvalidOp({MultiplyAdd{.shift = {.column = 7}}},
                  "shift expected a column below 2, found 7");
  ExpectInvalidOp({BatchNorm{.weight = {.column = 2}}}, "weight expected a column below 2");
  ExpectInvalidOp({BatchNorm{.bias = {.column = 2}}}, "bias expected a column below 2");
  ExpectInvalidOp({RunningBatchNorm{.weight = {.column = 2}}}, "weight expected a column below 2");
  ExpectInvalidOp({RunningBatchNorm{.bias = {.column = 2}}}, "bias expected a column below 2");
  ExpectInvalidOp({RunningBatchNorm{.mean = {.column = 2}}}, "mean expected a column below 2");
  ExpectInvalidOp({RunningBatchNorm{.variance = {.column = 2}}},
                  "variance expected a column below 2");
}

TEST(ValidateTest, RefusesConstantsThatAreNotFinite) {
  for (double value : {kInf, -kInf, kNan, 1e39}) {
    ExpectInvalidOp({MultiplyAdd{.scale = {.value = value}}},
                    "scale expected a finite FP32 number");
    ExpectInvalidOp({MultiplyAdd{.shift = {.value = value}}},
                    "shift expected a finite FP32 number");
    ExpectInvalidOp({Pointwise{.function = Function::kElu, .parameter = value}},
                    "expected a finite FP32 parameter");
    ExpectInvalidOp({BatchNorm{.eps = value}}, "expected a finite eps >= 0");
    ExpectInvalidOp({RunningBatchNorm{.eps = value}}, "expected a finite eps");
  }
}

TEST(ValidateTest, RefusesAClampWhoseBoundsCross) {
  ExpectInvalidOp({Clamp{.min = 2, .max = -2}}, "expected min <= max, found min 2 and max -2");
  ExpectInvalidOp({Clamp{.min = kNan}}, "expected min <= max");
}

TEST(ValidateTest, RefusesAVarianceThatWouldDivideByZero) {
  ExpectInvalidOp({RunningBatchNorm{.variance = {.value = 0}, .eps = 0}},
                  "expected variance + eps > 0, found variance 0 and eps 0");
  ExpectInvalidOp({RunningBatchNorm{.variance = {.column = 0}, .eps = -2}},
                  "found variance 1 at output 0 and eps -2");
  ExpectInvalidOp({BatchNorm{.eps = -1}}, "expected a finite eps >= 0, found -1");
}

TEST(ValidateTest, RefusesBatchStatisticsInsideAResidualOrGate) {
  ExpectInvalidOp({Residual{{{BatchNorm{}}}}}, "epilogue[1].residual.ops[0]: batch_norm");
  ExpectInvalidOp({Gate{{{AddInput{}}, {BatchNorm{}}}}}, "epilogue[1].gate.ops[1]: batch_norm");
}

TEST(ValidateTest, RefusesAddInputWhereTheFeaturesDiffer) {
  BlockSpec block = ValidBlock();
  block.layers[0].epilogue.ops = {{Gate{{{AddInput{}}}}}};
  ExpectInvalid(block, "layers[0] \"fc0\": epilogue[0].gate.ops[0]",
                "expected as many outputs as the block has input features, 3, found 2");
}

TEST(ValidateTest, RefusesAnEmptyResidualOrGate) {
  ExpectInvalidOp({Residual{}}, "residual expected at least one op, found none");
  ExpectInvalidOp({Gate{{{Gate{}}}}},
                  "epilogue[1].gate.ops[0]: gate expected at least one op, found none");
}

TEST(ValidateTest, BoundsTheNesting) {
  const auto nested = [](int depth) {
    Op op{Pointwise{.function = Function::kTanh}};
    for (int i = 0; i < depth; ++i) op = {Residual{{op}}};
    return op;
  };
  EXPECT_TRUE(Validate(WithOps({nested(kMaxEpilogueDepth)})).ok());
  ExpectInvalidOp(nested(kMaxEpilogueDepth + 1), "nested at most 16 deep, found more");
}

}  // namespace
}  // namespace mlpserve
