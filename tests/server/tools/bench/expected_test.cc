#include "server/tools/bench/expected.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/spec/rounding.h"

namespace mlpserve::tools {
namespace {

struct Case {
  Problem problem;
  std::vector<float> x;
  LayerSpec layer;
  Products products;
};

Products ProductsOf(const Case& c, Columns columns) {
  const Problem& p = c.problem;
  Products products;
  products.rounded = MultiplyOnHost(c.x, c.layer.weight, p.m, p.k, columns, p.compute);
  if (p.compute == ComputeType::kTf32) {
    products.stored = MultiplyOnHost(c.x, c.layer.weight, p.m, p.k, columns, ComputeType::kFp32);
  }
  return products;
}

Case MakeCase(const std::string& epilogue, ComputeType compute, int64_t m = 6, int64_t n = 40,
              int64_t k = 40) {
  Case c{.problem = {.m = m, .n = n, .k = k, .compute = compute}};
  c.problem.epilogue = epilogue.front() == '[' ? *ParseOps(epilogue) : *NamedEpilogue(epilogue);
  c.x = MakeRows(c.problem);
  c.layer = MakeLayer(c.problem, MakeWeight(n, k));
  c.products = ProductsOf(c, {.first = 0, .count = n});
  return c;
}

Columns All(const Case& c) { return {.first = 0, .count = c.problem.n}; }

Expected ExpectAll(const Case& c) { return Expect(c.problem, c.layer, c.x, All(c), c.products); }

Verdict JudgeAll(const Case& c, const Expected& expected, const std::vector<float>& y,
                 bool bounds_error) {
  Judge judge(c.problem, bounds_error);
  judge.Add(All(c), expected, y);
  return judge.Finish();
}

BlockSpec BlockOf(const Case& c) {
  return {.name = "bench",
          .input_type = c.problem.stored(),
          .output_type = c.problem.stored(),
          .compute = c.problem.compute,
          .layers = {c.layer}};
}

std::vector<float> Rounded(const Case& c, const OracleResult& values) {
  std::vector<float> y;
  for (const double v : values.values) {
    y.push_back(
        RoundTo(c.problem.compute == ComputeType::kTf32 ? ComputeType::kFp32 : c.problem.compute,
                static_cast<float>(v)));
  }
  return y;
}

TEST(BenchExpectedTest, IsWhatTheOracleSaysOfTheWholeBlock) {
  for (const std::string epilogue :
       {"linear", "gelu", "sigmoid", "batch_norm", "batch_norm_train", R"([{"add_input": {}}])"}) {
    for (const ComputeType compute : {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kBf16}) {
      const Case c = MakeCase(epilogue, compute);
      const Expected expected = ExpectAll(c);
      const OracleResult whole = EvaluateOracle(BlockOf(c), c.x, c.problem.m);
      for (size_t i = 0; i < whole.values.size(); ++i) {
        ASSERT_NEAR(expected.values.values[i], whole.values[i], 1e-9) << epilogue;
        ASSERT_NEAR(expected.values.bounds[i], whole.bounds[i], 1e-6 * whole.bounds[i]) << epilogue;
      }
      EXPECT_EQ(expected.stored.has_value(), compute == ComputeType::kTf32);
    }
  }
}

TEST(BenchExpectedTest, RightOutputsAreRightAndOneWrongValueIsLocated) {
  for (const ComputeType compute :
       {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    const Case c = MakeCase("gelu", compute);
    const Expected expected = ExpectAll(c);
    std::vector<float> y = Rounded(c, expected.values);
    const Verdict right = JudgeAll(c, expected, y, true);
    EXPECT_TRUE(right.is_right) << right.reason;
    y[2 * 40 + 7] += 1;
    const Verdict wrong = JudgeAll(c, expected, y, true);
    EXPECT_FALSE(wrong.is_right);
    EXPECT_NE(wrong.reason.find("row 2, column 7"), std::string::npos) << wrong.reason;
  }
}

TEST(BenchExpectedTest, ATruncatedTf32ProductPassesEveryBoundButNotTheNorm) {
  Case c = MakeCase("linear", ComputeType::kTf32, 64, 128, 128);
  const Expected expected = ExpectAll(c);
  const auto truncate = [](std::vector<float>& values) {
    for (float& v : values) v = std::bit_cast<float>(std::bit_cast<uint32_t>(v) & ~0x1FFFu);
  };
  truncate(c.x);
  std::vector<float> weight = c.layer.weight.ToFloats().value();
  truncate(weight);
  const ProductSums sums =
      MultiplyOnHost(c.x, std::move(weight), 64, 128, All(c), ComputeType::kTf32);
  // Without the bias, which is exact and hides the error of the product.
  const Expected plain = ExpectPlain(c.problem, All(c), c.products);
  const std::vector<float> y(sums.sums.begin(), sums.sums.end());
  const Verdict verdict = JudgeAll(c, plain, y, true);
  EXPECT_FALSE(verdict.is_right);
  EXPECT_NE(verdict.reason.find("relative error"), std::string::npos) << verdict.reason;
  EXPECT_TRUE(JudgeAll(c, plain, y, false).is_right);
  // What rounds to nearest passes both.
  const std::vector<float> nearest(c.products.rounded.sums.begin(), c.products.rounded.sums.end());
  const Verdict good = JudgeAll(c, plain, nearest, true);
  EXPECT_TRUE(good.is_right) << good.reason;
  EXPECT_GT(good.relative_error, 1e-4);  // of rounding: taken against the operands as stored
}

TEST(BenchExpectedTest, SomeColumnsAtATimeAreJudgedAsAllAtOnce) {
  for (const std::string epilogue : {"gelu", "batch_norm_train", R"([{"add_input": {}}])"}) {
    const Case c = MakeCase(epilogue, ComputeType::kTf32);
    const Expected whole = ExpectAll(c);
    std::vector<float> y = Rounded(c, whole.values);
    Judge judge(c.problem, true);
    const std::vector<Columns> parts = ColumnsAtATime(c.problem, int64_t{6} * 7);
    ASSERT_EQ(parts.size(), 6u);  // 7 of 40 at a time
    for (const Columns columns : parts) {
      const Expected some = Expect(c.problem, c.layer, c.x, columns, ProductsOf(c, columns));
      std::vector<float> values;
      for (int64_t row = 0; row < 6; ++row) {
        for (int64_t i = 0; i < columns.count; ++i) {
          const auto at = static_cast<size_t>(row * 40 + columns.first + i);
          const auto there = static_cast<size_t>(row * columns.count + i);
          EXPECT_EQ(some.values.values[there], whole.values.values[at]) << epilogue;
          EXPECT_EQ(some.values.bounds[there], whole.values.bounds[at]) << epilogue;
          values.push_back(y[at]);
        }
      }
      judge.Add(columns, some, values);
    }
    const Verdict verdict = judge.Finish();
    EXPECT_EQ(verdict.is_right, JudgeAll(c, whole, y, true).is_right) << verdict.reason;
    EXPECT_NEAR(verdict.relative_error, JudgeAll(c, whole, y, true).relative_error, 1e-12);
  }
}

TEST(BenchExpectedTest, AWrongValueIsNamedByItsColumnOfTheWhole) {
  const Case c = MakeCase("linear", ComputeType::kFp32);
  const Columns columns{.first = 30, .count = 4};
  const Expected some = Expect(c.problem, c.layer, c.x, columns, ProductsOf(c, columns));
  std::vector<float> y(some.values.values.begin(), some.values.values.end());
  y[4 + 3] += 1;
  Judge judge(c.problem, true);
  judge.Add(columns, some, y);
  EXPECT_FALSE(judge.is_right_so_far());
  EXPECT_NE(judge.Finish().reason.find("row 1, column 33"), std::string::npos)
      << judge.Finish().reason;
}

TEST(BenchExpectedTest, ColumnsAtATimeAreAllOfThemAndAtLeastOne) {
  EXPECT_EQ(ColumnsAtATime({.m = 4, .n = 3}), (std::vector<Columns>{{0, 3}}));
  EXPECT_EQ(ColumnsAtATime({.m = 10, .n = 3}, 5), (std::vector<Columns>{{0, 1}, {1, 1}, {2, 1}}));
  int64_t next = 0;
  for (const Columns columns : ColumnsAtATime({.m = 65536, .n = 40000})) {
    EXPECT_EQ(columns.first, next);
    EXPECT_LE(65536 * columns.count, kMostHeldValues);
    next += columns.count;
  }
  EXPECT_EQ(next, 40000);
}

// Of a value near zero, rounding explains any relative error: the bound alone judges it.
TEST(BenchExpectedTest, OneValueNearZeroIsJudgedByItsBound) {
  Case c = MakeCase("linear", ComputeType::kBf16, 1, 1, 65);
  // x·w = 1 - 1 + 2^-9 of terms that are each exact, off by less than BF16's rounding of 1.
  c.products.rounded = {.sums = {0x1p-9}, .magnitudes = {2}};
  c.layer.bias = {-0x1p-9f + 0x1p-20f};
  const Expected expected = ExpectAll(c);
  const double bound = expected.values.bounds[0];
  const auto y = static_cast<float>(expected.values.values[0] + 0.5 * bound);
  ASSERT_GT(0.5 * bound / std::fabs(expected.values.values[0]), MostRelativeError(c.problem));
  const Verdict right = JudgeAll(c, expected, {y}, true);
  EXPECT_TRUE(right.is_right) << right.reason;
  const auto wrong = static_cast<float>(expected.values.values[0] + 1.5 * bound);
  EXPECT_FALSE(JudgeAll(c, expected, {wrong}, true).is_right);
}

TEST(BenchExpectedTest, AnOutputThatNobodyWroteIsWrong) {
  const Case c = MakeCase("sigmoid", ComputeType::kBf16);
  const Expected expected = ExpectAll(c);
  const std::vector<float> y(expected.values.values.size(), std::nanf(""));
  EXPECT_FALSE(JudgeAll(c, expected, y, true).is_right);
}

}  // namespace
}  // namespace mlpserve::tools
