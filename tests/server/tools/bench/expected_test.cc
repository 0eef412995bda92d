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

Case MakeCase(const std::string& epilogue, ComputeType compute, int64_t m = 6, int64_t n = 40,
              int64_t k = 40) {
  Case c{.problem = {.m = m, .n = n, .k = k, .compute = compute}};
  c.problem.epilogue = epilogue.front() == '[' ? *ParseOps(epilogue) : *NamedEpilogue(epilogue);
  c.x = MakeRows(c.problem);
  c.layer = MakeLayer(c.problem, MakeWeight(n, k));
  c.products.rounded = MultiplyOnHost(c.x, c.layer.weight, m, n, k, compute);
  if (compute == ComputeType::kTf32) {
    c.products.stored = MultiplyOnHost(c.x, c.layer.weight, m, n, k, ComputeType::kFp32);
  }
  return c;
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
      const Expected expected = Expect(c.problem, c.layer, c.x, c.products);
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
    const Expected expected = Expect(c.problem, c.layer, c.x, c.products);
    std::vector<float> y = Rounded(c, expected.values);
    const Verdict right = Judge(c.problem, expected, y, true);
    EXPECT_TRUE(right.is_right) << right.reason;
    y[2 * 40 + 7] += 1;
    const Verdict wrong = Judge(c.problem, expected, y, true);
    EXPECT_FALSE(wrong.is_right);
    EXPECT_NE(wrong.reason.find("row 2, column 7"), std::string::npos) << wrong.reason;
  }
}

TEST(BenchExpectedTest, ATruncatedTf32ProductPassesEveryBoundButNotTheNorm) {
  Case c = MakeCase("linear", ComputeType::kTf32, 64, 128, 128);
  const Expected expected = Expect(c.problem, c.layer, c.x, c.products);
  const auto truncate = [](std::vector<float>& values) {
    for (float& v : values) v = std::bit_cast<float>(std::bit_cast<uint32_t>(v) & ~0x1FFFu);
  };
  truncate(c.x);
  truncate(c.layer.weight);
  const ProductSums sums = MultiplyOnHost(c.x, c.layer.weight, 64, 128, 128, ComputeType::kTf32);
  // Without the bias, which is exact and hides the error of the product.
  const Expected plain = ExpectPlain(c.problem, c.products);
  const std::vector<float> y(sums.sums.begin(), sums.sums.end());
  const Verdict verdict = Judge(c.problem, plain, y, true);
  EXPECT_FALSE(verdict.is_right);
  EXPECT_NE(verdict.reason.find("relative error"), std::string::npos) << verdict.reason;
  EXPECT_TRUE(Judge(c.problem, plain, y, false).is_right);
  // What rounds to nearest passes both.
  const std::vector<float> nearest(c.products.rounded.sums.begin(), c.products.rounded.sums.end());
  const Verdict good = Judge(c.problem, plain, nearest, true);
  EXPECT_TRUE(good.is_right) << good.reason;
  EXPECT_GT(good.relative_error, 1e-4);  // of rounding: taken against the operands as stored
}

TEST(BenchExpectedTest, AnOutputThatNobodyWroteIsWrong) {
  const Case c = MakeCase("sigmoid", ComputeType::kBf16);
  const Expected expected = Expect(c.problem, c.layer, c.x, c.products);
  const std::vector<float> y(expected.values.values.size(), std::nanf(""));
  EXPECT_FALSE(Judge(c.problem, expected, y, true).is_right);
}

}  // namespace
}  // namespace mlpserve::tools
