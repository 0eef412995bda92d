#include "kernels/spec/epilogue.h"

#include <cmath>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

const Op kSigmoid{Pointwise{.function = Function::kSigmoid}};

TEST(EpilogueTest, PrintsEveryOp) {
  EpilogueSpec epilogue;
  epilogue.ops = {
      {MultiplyAdd{.scale = {.column = 0}, .shift = {.value = 0.1}}},
      {Clamp{.min = -2}},
      {Pointwise{.function = Function::kLeakyRelu, .parameter = 0.01}},
      {Residual{{kSigmoid, {MultiplyAdd{.scale = {.value = 2}}}}}},
      {Gate{{{Pointwise{.function = Function::kTanh}}}}},
      {AddInput{}},
      {BatchNorm{.weight = {.column = 1}, .bias = {.value = 0}}},
  };
  EXPECT_EQ(ToString(epilogue),
            "scale c0 shift 0.1 | clamp -2 inf | leaky_relu 0.01 | "
            "residual(sigmoid | scale 2 shift 0) | gate(tanh) | add_input | "
            "batch_norm weight c1 bias 0 eps 1e-05");
}

TEST(EpilogueTest, TextTellsNumbersApartThatDifferInTheLastBit) {
  const double next = std::nextafter(0.1, 1.0);
  EXPECT_NE(ToString(EpilogueSpec{.ops = {{MultiplyAdd{.scale = {.value = 0.1}}}}}),
            ToString(EpilogueSpec{.ops = {{MultiplyAdd{.scale = {.value = next}}}}}));
}

TEST(EpilogueTest, FindsAddInputAtAnyDepth) {
  const EpilogueSpec nested{.ops = {{Residual{{{Gate{{{AddInput{}}}}}}}}}};
  EXPECT_TRUE(UsesInput(nested));
  EXPECT_FALSE(UsesInput(EpilogueSpec{.ops = {kSigmoid, {Residual{{kSigmoid}}}}}));
}

TEST(EpilogueTest, OnlyBatchNormUsesBatchStatistics) {
  EXPECT_TRUE(UsesBatchStatistics(EpilogueSpec{.ops = {kSigmoid, {BatchNorm{}}}}));
  EXPECT_FALSE(UsesBatchStatistics(EpilogueSpec{.ops = {{RunningBatchNorm{}}}}));
}

}  // namespace
}  // namespace mlpserve
