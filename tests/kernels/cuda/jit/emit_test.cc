#include "kernels/cuda/jit/emit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kernels/reference/epilogue.h"
#include "tests/kernels/cuda/jit/emitted_chains.h"
#include "tests/kernels/cuda/jit/random_chain.h"

namespace mlpserve::cuda {
namespace {

using reference::Bounded;
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

// z as a product left it. It may err by 2^-22 of z: one term of a sum, K = 1.
Bounded Product(float z) { return reference::InFp32(z, 0, reference::kOpError * std::fabs(z)); }

struct Result {
  int chain = 0;
  float z = 0;  // the chain's argument
  float x = 0;  // the block's input
  int column = 0;
  Bounded expected;
  float actual = 0;
};

std::ostream& operator<<(std::ostream& out, const Result& r) {
  return out << "chain " << r.chain << " (" << ToString(RandomChain(r.chain)) << ") of z = " << r.z
             << ", x = " << r.x << ", column " << r.column << ": expected " << r.expected.value
             << ", found " << r.actual;
}

// Calls check(Result) for every chain and value, of which there are so many to a column.
template <typename Check>
void ForEachValue(const std::vector<float>& values, Check check) {
  const auto rows = static_cast<int64_t>(values.size() / kChainColumns);
  reference::Matrix<Bounded> z{.rows = rows, .columns = kChainColumns, .values = {}};
  reference::Matrix<Bounded> x = z;
  for (size_t i = 0; i < values.size(); ++i) {
    z.values.push_back(Product(values[i]));
    x.values.push_back({.value = static_cast<float>(i % 7) - 3.1f});
  }
  for (int chain = 0; chain < kChains; ++chain) {
    const EpilogueSpec spec = RandomChain(chain);
    const std::vector<float> columns = Flatten(spec);
    reference::Matrix<Bounded> expected = z;
    reference::EpilogueReference<Bounded>(spec, x).Apply(expected);
    for (size_t i = 0; i < values.size(); ++i) {
      Result r{.chain = chain,
               .z = values[i],
               .x = static_cast<float>(x.values[i].value),
               .column = static_cast<int>(i % kChainColumns),
               .expected = expected.values[i]};
      r.actual = EmittedChains()[chain](r.z, columns.data(), kChainColumns, r.column, r.x);
      check(r);
    }
  }
}

std::vector<float> RandomValues() {
  std::mt19937 random(7);
  std::vector<float> values = {0.0f, -0.0f, 1e-30f, -1e-30f, 0x1p-126f, -0x1p-126f, 1.0f, -1.0f};
  for (const float deviation : {0.01f, 0.5f, 1.0f, 10.0f, 100.0f}) {
    std::normal_distribution<float> normal(0.0f, deviation);
    for (int i = 0; i < 1000; ++i) values.push_back(normal(random));
  }
  return values;
}

// Half of the bound as much again is left to the stand-ins: they err by all that the ISA allows ex2
// and rcp, the hardware by about half of it.
TEST(EmitTest, RandomChainsStayWithinTheBoundOfTheGoldens) {
  int checked = 0;
  ForEachValue(RandomValues(), [&](const Result& r) {
    if (r.expected.is_unknown()) return;
    ++checked;
    ASSERT_LE(std::fabs(r.actual - r.expected.value), 1.5 * r.expected.bound + 0x1p-126) << r;
  });
  EXPECT_GT(checked, kChains * 4000);
}

TEST(EmitTest, NanAndInfinityPassAsInTheFloat64Formulas) {
  std::vector<float> values;
  for (const float special : {kNan, kInfinity, -kInfinity}) {
    values.insert(values.end(), kChainColumns, special);
  }
  int checked = 0;
  ForEachValue(values, [&](const Result& r) {
    if (r.expected.is_unknown()) return;
    ++checked;
    EXPECT_EQ(std::isnan(r.actual), std::isnan(r.expected.value)) << r;
    if (std::isinf(r.expected.value)) {
      EXPECT_EQ(r.actual, r.expected.value) << r;
    }
  });
  EXPECT_GT(checked, kChains * 3 * kChainColumns * 9 / 10);
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
