#include "server/tools/bench/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/source_folder.h"

namespace mlpserve::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Refusal(const std::string& text) {
  const auto steps = ParsePlan(text, "a.plan", {});
  EXPECT_EQ(steps.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(steps.status().message());
}

TEST(BenchPlanTest, ALineIsAModeAndFlagsAndLeavesTheRestAsItWas) {
  const auto steps = ParsePlan(
      "# A comment, and an empty line.\n\n"
      "check m=1,33 n=520 k=264 dtype=bf16,tf32 epilogue=gelu padding=8 variants=mma.a,mma.b # "
      "why\n"
      "\ttime  m=16 ops=[{\"scale\":{\"value\":2}}] layers=8 seconds=0.25\r\n"
      "profile",
      "a.plan", {.k = "8192", .epilogue = "linear", .seconds = "2"});
  ASSERT_TRUE(steps.ok()) << steps.status();
  ASSERT_EQ(steps->size(), 3u);
  const Step& check = (*steps)[0];
  EXPECT_EQ(check.mode, Mode::kCheck);
  ASSERT_EQ(check.problems.size(), 4u);
  EXPECT_EQ(Describe(check.problems[3]), "tf32 scale_hardtanh_gelu 33 x 520 x 264 + 8");
  EXPECT_THAT(check.variants.names, ElementsAre("mma.a", "mma.b"));
  const Step& time = (*steps)[1];
  EXPECT_EQ(time.mode, Mode::kTime);
  EXPECT_EQ(Describe(time.problems.at(0)), "bf16 custom 16 x 8192 x 8192");
  EXPECT_EQ(time.problems[0].layers, 8);
  EXPECT_EQ(time.time.seconds, 0.25);
  EXPECT_EQ((*steps)[2].mode, Mode::kProfile);
  EXPECT_EQ((*steps)[2].problems.at(0).epilogue.op, "linear");
  EXPECT_EQ((*steps)[2].time.seconds, 2);
}

TEST(BenchPlanTest, AWrongLineIsNamedWithWhatWasExpected) {
  EXPECT_THAT(Refusal("time m=1\ntime m=0"), HasSubstr("a.plan, line 2: --m: expected whole"));
  EXPECT_THAT(Refusal("sweep m=1"), HasSubstr("a.plan, line 1: --mode: expected time, check or"));
  EXPECT_THAT(Refusal("time rows=1"), HasSubstr("expected one of m=, n=, k=, dtype=, "));
  EXPECT_THAT(Refusal("time rows=1"), HasSubstr("found \"rows=1\""));
  EXPECT_THAT(Refusal("time m"), HasSubstr("found \"m\""));
  EXPECT_THAT(Refusal("time m="), HasSubstr("--m: expected"));
  EXPECT_THAT(Refusal("time padding=-2"), HasSubstr("--padding: expected a whole number from -1"));
  EXPECT_THAT(Refusal("# nothing\n"), HasSubstr("a.plan: expected steps, found none"));
  EXPECT_THAT(Refusal(""), HasSubstr("expected steps"));
}

TEST(BenchPlanTest, TheTreesPlansAreRead) {
  int plans = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SourceFolder() + "/kernels/plans")) {
    if (entry.path().extension() != ".plan") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const auto steps = ParsePlan(text.str(), entry.path().filename(), {});
    EXPECT_TRUE(steps.ok()) << steps.status();
    ++plans;
  }
  EXPECT_GE(plans, 5);
}

}  // namespace
}  // namespace mlpserve::tools
