#include "kernels/cuda/emit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "tests/kernels/cuda/bounded_value.h"
#include "tests/kernels/cuda/emitted_chains.h"
#include "tests/kernels/cuda/random_chain.h"

namespace mlpserve::cuda {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> Flatten(const EpilogueSpec& spec) {
  std::vector<float> all;
  for (const std::vector<float>& column : spec.columns) {
    all.insert(all.end(), column.begin(), column.end());
  }
  return all;
}

// Calls check(chain, spec, column, z, x, actual) for every chain and value.
template <typename Check>
void ForEachValue(const std::vector<float>& values, Check check) {
  for (int chain = 0; chain < kChains; ++chain) {
    const EpilogueSpec spec = RandomChain(chain);
    const std::vector<float> columns = Flatten(spec);
    for (size_t i = 0; i < values.size(); ++i) {
      const int column = static_cast<int>(i % kChainColumns);
      const float x = static_cast<float>(i % 7) - 3.1f;
      const float y = EmittedChains()[chain](values[i], columns.data(), kChainColumns, column, x);
      check(chain, spec, column, values[i], x, y);
    }
  }
}

std::vector<float> RandomValues() {
  std::mt19937 random(7);
  std::vector<float> values = {0.0f, -0.0f, 1e-30f, -1e-30f, 0x1p-126f, 1.0f, -1.0f};
  for (const float deviation : {0.01f, 0.5f, 1.0f, 10.0f, 100.0f}) {
    std::normal_distribution<float> normal(0.0f, deviation);
    for (int i = 0; i < 1000; ++i) values.push_back(normal(random));
  }
  return values;
}

// The product may err by 2^-22 of z (one term of a sum, K = 1). Half as much again is left to the
// stand-ins: they err by all that the ISA allows ex2 and rcp, the hardware by about half of it.
TEST(EmitTest, RandomChainsStayWithinTheBoundOfTheGoldens) {
  int checked = 0;
  ForEachValue(RandomValues(), [&](int chain, const EpilogueSpec& spec, int column, float z,
                                   float x, float actual) {
    const BoundedValue expected = Evaluate(spec, {z, std::fabs(z) * 0x1p-22}, column, x);
    // Where FP32 would have to hold more than it can, the bound says nothing.
    if (!std::isfinite(expected.value) || std::fabs(expected.value) > 1e30) return;
    ++checked;
    const double error = std::fabs(actual - expected.value);
    ASSERT_LE(error, 1.5 * expected.error + 0x1p-126)
        << "chain " << chain << " (" << ToString(spec) << ") of z = " << z << ", x = " << x
        << ", column " << column << ": expected " << expected.value << ", found " << actual;
  });
  EXPECT_GT(checked, kChains * 4000);
}

TEST(EmitTest, NanAndInfinityPassAsInTheFloat64Formulas) {
  ForEachValue({kNan, kInfinity, -kInfinity}, [](int chain, const EpilogueSpec& spec, int column,
                                                 float z, float x, float actual) {
    const double expected = Evaluate(spec, {z, 0}, column, x).value;
    SCOPED_TRACE(testing::Message()
                 << "chain " << chain << " (" << ToString(spec) << ") of z = " << z);
    EXPECT_EQ(std::isnan(actual), std::isnan(expected)) << actual << ", expected " << expected;
    if (std::isinf(expected)) {
      EXPECT_EQ(actual, expected);
    }
  });
}

TEST(EmitTest, ConstantsAreWrittenExactly) {
  EXPECT_EQ(FloatText(0.1), "0x1.99999ap-4f");
  EXPECT_EQ(FloatText(-2), "-0x1p+1f");
  EXPECT_EQ(FloatText(kInfinity), "FloatFromBits(0x7f800000u)");
}

TEST(EmitTest, ColumnValuesDoNotEnterTheText) {
  EpilogueSpec one{.ops = {{MultiplyAdd{.scale = {.column = 0}}}}, .columns = {{1, 2}}};
  EpilogueSpec two = one;
  two.columns = {{3, 4}};
  EXPECT_EQ(EmitEpilogue(one, "Epilogue").value(), EmitEpilogue(two, "Epilogue").value());
}

TEST(EmitTest, AnEmptyEpilogueReturnsItsValue) {
  const std::string text = EmitEpilogue({}, "Epilogue").value();
  EXPECT_THAT(text, HasSubstr("return z;"));
  EXPECT_THAT(text, HasSubstr("kColumns = 0"));
  EXPECT_THAT(text, HasSubstr("kUsesInput = false"));
}

TEST(EmitTest, InputIsUsedAtAnyDepth) {
  const EpilogueSpec spec{.ops = {{Residual{{{Gate{{{AddInput{}}}}}}}}}};
  EXPECT_THAT(EmitEpilogue(spec, "Epilogue").value(), HasSubstr("kUsesInput = true"));
}

TEST(EmitTest, BatchNormsAreRefused) {
  EXPECT_EQ(EmitEpilogue({.ops = {{RunningBatchNorm{}}}}, "E").status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(EmitEpilogue({.ops = {{BatchNorm{}}}}, "E").status().code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace mlpserve::cuda
