#include "server/tools/bench/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "server/tools/bench/cpu_kernel_bench.h"

namespace mlpserve::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Computes FP32 layers without an epilogue: once right, once wrong, once without the bias.
class FakeBench final : public KernelBench {
 public:
  MachineFigures Machine() const override {
    return {.name = "a card", .driver = "1.2", .power_limit_w = 700};
  }
  std::vector<std::string> Warnings() const override { return {"nothing is known"}; }
  double MeasureReading() override { return 1000; }
  absl::Status CheckFits(const Problem& problem) const override {
    if (problem.n <= 64) return absl::OkStatus();
    return absl::ResourceExhaustedError("too large");
  }
  absl::StatusOr<std::vector<Candidate>> Prepare(const Problem& problem, const LayerSpec& layer,
                                                 std::span<const float> x,
                                                 const Variants&) override {
    ++prepared;
    problem_ = problem;
    layer_ = layer;
    x_.assign(x.begin(), x.end());
    std::vector<Candidate> candidates = {
        {.variant = "right", .resources = Resources{.registers = 7}},
        {.variant = "wrong"},
        {.variant = "bare", .is_plain = true}};
    if (!refused.empty()) candidates.push_back({.variant = "large", .refused = refused});
    return candidates;
  }
  absl::StatusOr<ProductSums> Multiply(ComputeType rounded_to, Columns columns) override {
    ++multiplied;
    return MultiplyOnHost(x_, layer_.weight, problem_.m, problem_.k, columns, rounded_to);
  }
  absl::StatusOr<Output> Compute(size_t candidate, Columns columns) override {
    ++computed;
    const ProductSums sums =
        MultiplyOnHost(x_, layer_.weight, problem_.m, problem_.k, columns, problem_.compute);
    Output output;
    for (size_t i = 0; i < sums.sums.size(); ++i) {
      const auto column = static_cast<int64_t>(i) % columns.count + columns.first;
      const double bias = layer_.bias[static_cast<size_t>(column)];
      output.values.push_back(static_cast<float>(sums.sums[i] + (candidate == 2 ? 0 : bias)));
      if (candidate == 1 && column == 3 && static_cast<int64_t>(i) < columns.count)
        output.values.back() += 1;
    }
    if (candidate == 0) output.trespasses = trespasses;
    return output;
  }
  absl::StatusOr<bool> RowsStandAlone(size_t) override {
    ++stood_alone;
    return rows_stand_alone;
  }
  absl::Status Profile(const std::vector<size_t>& candidates) override {
    profiled = candidates;
    return absl::OkStatus();
  }
  absl::StatusOr<bool> ChainHolds(size_t) override { return chain_holds; }
  absl::StatusOr<std::vector<Times>> Time(const std::vector<size_t>& candidates,
                                          const TimeOptions&) override {
    timed = candidates;
    return std::vector<Times>(candidates.size(), Times{.burst_ms = 2, .ms = 1});
  }
  CardFigures TakeCardFigures() override { return {.sm_mhz = 1500, .power_w = 600}; }

  int prepared = 0, multiplied = 0, computed = 0, stood_alone = 0;
  int64_t trespasses = 0;
  std::string refused;
  bool chain_holds = true, rows_stand_alone = true;
  std::vector<size_t> timed, profiled;

 private:
  Problem problem_;
  LayerSpec layer_;
  std::vector<float> x_;
};

Problem Linear(int64_t m, int64_t n, int64_t k) {
  return {
      .m = m, .n = n, .k = k, .compute = ComputeType::kFp32, .epilogue = *NamedEpilogue("linear")};
}

std::vector<Step> Timed(std::vector<Problem> problems) {
  return {
      {.time = {.burst_rounds = 1, .seconds = 1e-5, .rounds = 1}, .problems = std::move(problems)}};
}

std::vector<Step> Checked(std::vector<Problem> problems) {
  return {{.mode = Mode::kCheck, .problems = std::move(problems)}};
}

std::vector<nlohmann::json> Parse(const std::string& records) {
  std::vector<nlohmann::json> parsed;
  std::istringstream lines(records);
  for (std::string line; std::getline(lines, line);) parsed.push_back(nlohmann::json::parse(line));
  return parsed;
}

TEST(RunKernelBenchTest, OnlyWhatIsRightIsTimedAndRecorded) {
  FakeBench bench;
  std::ostringstream table, records;
  const auto result = RunKernelBench(
      Timed({Linear(3, 8, 8)}), {.commit = "abc", .date = "2026-11-21"}, bench, table, &records);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->records, 2);
  EXPECT_EQ(result->wrong, 1);
  EXPECT_THAT(bench.timed, ElementsAre(0, 2));
  EXPECT_THAT(table.str(),
              HasSubstr("WRONG fp32 linear 3 x 8 x 8 wrong: worst at row 0, column 3"));
  EXPECT_THAT(table.str(), HasSubstr("warning: nothing is known"));
  const std::vector<nlohmann::json> lines = Parse(records.str());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], (nlohmann::json{{"op", "machine"},
                                      {"gpu", "a card"},
                                      {"driver", "1.2"},
                                      {"power_limit_w", 700},
                                      {"date", "2026-11-21"},
                                      {"commit", "abc"}}));
  EXPECT_EQ(lines[1]["op"], "read");
  EXPECT_EQ(lines[2]["op"], "gemm_only");
  EXPECT_EQ(lines[3]["variant"], "right");
  EXPECT_EQ(lines[3]["op"], "linear");
  EXPECT_EQ(lines[3]["sm_mhz"], 1500);
}

TEST(RunKernelBenchTest, OneShapesEpiloguesShareTheOraclesProduct) {
  FakeBench bench;
  std::ostringstream table;
  Problem other = Linear(3, 8, 8);
  other.epilogue = *ParseOps("[]");
  const auto result =
      RunKernelBench(Timed({Linear(3, 8, 8), other, Linear(4, 8, 8)}), {}, bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(bench.prepared, 3);
  EXPECT_EQ(bench.multiplied, 2);
}

TEST(RunKernelBenchTest, AProblemThatDoesNotFitEndsTheRunBeforeItBegins) {
  FakeBench bench;
  std::ostringstream table;
  const auto result =
      RunKernelBench(Timed({Linear(3, 8, 8), Linear(3, 65, 8)}), {}, bench, table, nullptr);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(bench.prepared, 0);
}

TEST(RunKernelBenchTest, AChainWithOtherBitsIsNotTimed) {
  FakeBench bench;
  bench.chain_holds = false;
  std::ostringstream table;
  Problem chain = Linear(3, 8, 8);
  chain.layers = 4;
  const auto result = RunKernelBench(Timed({chain}), {}, bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->wrong, 2);
  EXPECT_THAT(bench.timed, ElementsAre(2));
  EXPECT_THAT(table.str(), HasSubstr("right: a chain's bits are not those"));
}

TEST(RunKernelBenchTest, ALargeOutputIsHeldSomeColumnsAtATime) {
  FakeBench bench;
  std::ostringstream table;
  const auto result =
      RunKernelBench(Checked({Linear(3, 8, 8)}), {.most_held_values = 9}, bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->wrong, 1);
  EXPECT_EQ(bench.multiplied, 3);        // 3, 3 and 2 columns
  EXPECT_EQ(bench.computed, 3 + 2 + 3);  // one is wrong in the second part, and not looked at again
  EXPECT_THAT(table.str(), HasSubstr("worst at row 0, column 3"));
}

TEST(RunKernelBenchTest, WhatIsOnlyCheckedIsNotTimed) {
  FakeBench bench;
  std::ostringstream table, records;
  const auto result = RunKernelBench(Checked({Linear(3, 8, 8)}), {}, bench, table, &records);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->checked, 2);
  EXPECT_EQ(result->wrong, 1);
  EXPECT_EQ(result->records, 0);
  EXPECT_TRUE(bench.timed.empty());
  EXPECT_EQ(bench.stood_alone, 1);  // the plain product is the library's
  EXPECT_THAT(table.str(), HasSubstr("ok    fp32 linear 3 x 8 x 8 right: relative error "));
  EXPECT_EQ(Parse(records.str()).size(), 1u);  // the machine's
}

TEST(RunKernelBenchTest, ARowWithOtherBitsAmongFewerRowsIsWrong) {
  FakeBench bench;
  bench.rows_stand_alone = false;
  std::ostringstream table;
  const auto result = RunKernelBench(Checked({Linear(3, 8, 8)}), {}, bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->wrong, 2);
  EXPECT_THAT(table.str(), HasSubstr("right: a row has other bits among fewer rows"));
}

TEST(RunKernelBenchTest, WhatWritesBesideItsOutputIsWrong) {
  FakeBench bench;
  bench.trespasses = 5;
  std::ostringstream table;
  const auto result = RunKernelBench(Timed({Linear(3, 8, 8)}), {}, bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->wrong, 2);
  EXPECT_THAT(bench.timed, ElementsAre(2));
  EXPECT_THAT(table.str(), HasSubstr("expected nothing beside y to be written, found 5 bytes"));
}

TEST(RunKernelBenchTest, AVariantThatCannotRunIsWrongAndTheOthersAreMeasured) {
  FakeBench bench;
  bench.refused = "expected at most 3 registers, found 4";
  std::ostringstream table;
  const auto result = RunKernelBench(Timed({Linear(3, 8, 8)}), {}, bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->wrong, 2);
  EXPECT_EQ(bench.computed, 3);
  EXPECT_THAT(bench.timed, ElementsAre(0, 2));
  EXPECT_THAT(table.str(), HasSubstr("8 large: expected at most 3 registers, found 4"));
}

TEST(RunKernelBenchTest, WhatIsProfiledIsRightFirst) {
  FakeBench bench;
  std::ostringstream table;
  const auto result = RunKernelBench({{.mode = Mode::kProfile, .problems = {Linear(3, 8, 8)}}}, {},
                                     bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(bench.profiled, ElementsAre(0, 2));
}

TEST(CpuKernelBenchTest, ChecksRowsAloneAndProfilesNothing) {
  const std::unique_ptr<KernelBench> bench = MakeCpuKernelBench(1);
  std::ostringstream table;
  const auto checked = RunKernelBench(Checked({Linear(7, 33, 5), Linear(1, 1, 65)}),
                                      {.most_held_values = 20}, *bench, table, nullptr);
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->checked, 2) << table.str();
  const auto profiled = RunKernelBench({{.mode = Mode::kProfile, .problems = {Linear(1, 1, 1)}}},
                                       {}, *bench, table, nullptr);
  EXPECT_EQ(profiled.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CpuKernelBenchTest, MeasuresEveryNamedEpilogueInEveryFormat) {
  const std::unique_ptr<KernelBench> bench = MakeCpuKernelBench(2);
  std::vector<Problem> problems;
  for (const ComputeType compute :
       {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    for (const std::string& name : EpilogueNames()) {
      problems.push_back({.m = 5,
                          .n = 96,
                          .k = 96,
                          .compute = compute,
                          .epilogue = *NamedEpilogue(name),
                          .layers = 3});
    }
  }
  std::ostringstream table, records;
  const auto result = RunKernelBench(
      {{.time = {.burst_rounds = 2, .seconds = 1e-4, .rounds = 1}, .problems = problems}}, {},
      *bench, table, &records);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->wrong, 0) << table.str();
  EXPECT_EQ(result->records, static_cast<int>(problems.size()));
  for (const nlohmann::json& record : Parse(records.str())) {
    if (!record.contains("ms")) continue;
    EXPECT_GT(record["ms"], 0) << record;
    EXPECT_GT(record["chain_ms"], 0) << record;
    EXPECT_TRUE(record.contains("relerr")) << record;
  }
}

TEST(CpuKernelBenchTest, OddSizesAndOneRow) {
  const std::unique_ptr<KernelBench> bench = MakeCpuKernelBench(1);
  std::ostringstream table;
  std::vector<Problem> problems = {Linear(1, 1, 1), Linear(7, 33, 5), Linear(1, 3, 1000)};
  const auto result = RunKernelBench(Timed(problems), {}, *bench, table, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->wrong, 0) << table.str();
}

TEST(CpuKernelBenchTest, AVariantThatThereIsNotIsRefusedWithTheOneThatThereIs) {
  const std::unique_ptr<KernelBench> bench = MakeCpuKernelBench(1);
  std::ostringstream table;
  const auto result =
      RunKernelBench({{.variants = {.kind = Variants::Kind::kNamed, .names = {"wgmma"}},
                       .problems = {Linear(2, 4, 4)}}},
                     {}, *bench, table, nullptr);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("expected chosen, all or fp32"));
}

TEST(CpuKernelBenchTest, WhatNoMemoryHoldsIsRefusedWithBothSizes) {
  const std::unique_ptr<KernelBench> bench = MakeCpuKernelBench(1);
  const absl::Status fits = bench->CheckFits(Linear(1, 1 << 24, 1 << 24));
  EXPECT_EQ(fits.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(fits.message()), HasSubstr("MiB of memory, found "));
}

}  // namespace
}  // namespace mlpserve::tools
