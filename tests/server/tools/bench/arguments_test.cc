#include "server/tools/bench/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mlpserve::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::variant<Arguments, Exit> Parse(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"mlpserve-bench"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return ParseArguments(static_cast<int>(argv.size()), argv.data());
}

Arguments ParseGood(const std::vector<std::string>& words) {
  const auto parsed = Parse(words);
  const Exit* exit = std::get_if<Exit>(&parsed);
  EXPECT_EQ(exit, nullptr) << (exit != nullptr ? exit->text : "");
  return exit != nullptr ? Arguments{} : std::get<Arguments>(parsed);
}

// The one line that a wrong command line ends with.
std::string Refusal(const std::vector<std::string>& words) {
  const auto parsed = Parse(words);
  const Exit* exit = std::get_if<Exit>(&parsed);
  if (exit == nullptr) return "was taken";
  EXPECT_EQ(exit->code, kWrongUsage);
  EXPECT_EQ(exit->text.find('\n'), exit->text.size() - 1) << exit->text;
  EXPECT_THAT(exit->text, HasSubstr("mlpserve-bench: "));
  return exit->text;
}

TEST(BenchArgumentsTest, DefaultsMeasureTheThreeBlocksInBf16OnTheGpu) {
  const Arguments arguments = ParseGood({"kernels"});
  ASSERT_EQ(arguments.steps.front().problems.size(), 15u);
  EXPECT_EQ(Describe(arguments.steps.front().problems[0]),
            "bf16 scale_hardtanh_gelu 1 x 8192 x 8192");
  EXPECT_EQ(Describe(arguments.steps.front().problems[14]),
            "bf16 scale_batchnorm_eval 1024 x 8192 x 8192");
  EXPECT_EQ(arguments.backend, BenchBackend::kCuda);
  EXPECT_EQ(arguments.steps.front().variants.kind, Variants::Kind::kChosen);
}

TEST(BenchArgumentsTest, ListsAreProductsWithOneShapesEpiloguesTogether) {
  const Arguments arguments =
      ParseGood({"kernels", "--m", "1,16", "--n", "32", "--k", "48", "--dtype", "tf32,fp16",
                 "--epilogue", "linear,sigmoid", "--variants", "all", "--backend", "cpu"});
  ASSERT_EQ(arguments.steps.front().problems.size(), 8u);
  EXPECT_EQ(Describe(arguments.steps.front().problems[1]),
            "tf32 sigmoid_scale_residual 1 x 32 x 48");
  EXPECT_EQ(Describe(arguments.steps.front().problems[2]), "tf32 linear 16 x 32 x 48");
  EXPECT_EQ(Describe(arguments.steps.front().problems[4]), "fp16 linear 1 x 32 x 48");
  EXPECT_EQ(arguments.steps.front().variants.kind, Variants::Kind::kAll);
}

TEST(BenchArgumentsTest, OpsAreThoseOfModelJson) {
  const Arguments arguments =
      ParseGood({"kernels", "--m", "2", "--ops",
                 R"([{"scale": {"tensor": "s"}}, {"gate": {"ops": [{"sigmoid": {}}]}}])"});
  ASSERT_EQ(arguments.steps.front().problems.size(), 1u);
  const Epilogue& epilogue = arguments.steps.front().problems[0].epilogue;
  EXPECT_EQ(epilogue.op, "custom");
  EXPECT_EQ(epilogue.layer.epilogue.ops.size(), 2u);
  EXPECT_EQ(epilogue.layer.columns.size(), 1u);
}

TEST(BenchArgumentsTest, VariantsMayBeNamed) {
  const Arguments arguments = ParseGood({"kernels", "--variants", "mma.a,cublaslt.0"});
  EXPECT_EQ(arguments.steps.front().variants.kind, Variants::Kind::kNamed);
  EXPECT_THAT(arguments.steps.front().variants.names, testing::ElementsAre("mma.a", "cublaslt.0"));
}

TEST(BenchArgumentsTest, SizesThatAreNoSizesAreRefused) {
  for (const std::string flag : {"--m", "--n", "--k", "--layers"}) {
    for (const std::string value : {"0", "-5", "x", "1.5", "1,,2", "99999999999999999999"}) {
      EXPECT_THAT(Refusal({"kernels", flag + "=" + value}),
                  AllOf(HasSubstr(flag + ": expected "), HasSubstr("found \"" + value + "\"")));
    }
  }
  EXPECT_THAT(Refusal({"kernels", "--m", "-5"}), HasSubstr("--m"));
  EXPECT_THAT(Refusal({"kernels", "--m", "1048577"}), HasSubstr("1 to 1048576"));
  EXPECT_THAT(Refusal({"kernels", "--n", "16777217"}), HasSubstr("1 to 16777216"));
}

TEST(BenchArgumentsTest, UnknownNamesAreRefusedWithTheKnownOnes) {
  EXPECT_THAT(Refusal({"kernels", "--dtype", "fp8"}),
              HasSubstr("--dtype: expected bf16, fp16, tf32, fp32, found \"fp8\""));
  EXPECT_THAT(Refusal({"kernels", "--epilogue", "gelu,selu"}),
              HasSubstr("--epilogue: expected linear, gelu, sigmoid, batch_norm, "
                        "batch_norm_train, found \"selu\""));
  EXPECT_THAT(Refusal({"kernels", "--backend", "tpu"}),
              HasSubstr("--backend: expected cuda or cpu, found \"tpu\""));
  EXPECT_THAT(Refusal({"kernels", "--mode", "sweep"}),
              HasSubstr("--mode: expected time, check or profile, found \"sweep\""));
  EXPECT_THAT(Refusal({"kernels", "--padding", "-2"}), HasSubstr("--padding: expected a whole"));
  EXPECT_THAT(Refusal({"kernels", "--plan", "no/such.plan"}),
              HasSubstr("--plan: expected a file with steps, found \"no/such.plan\""));
  EXPECT_THAT(Refusal({"kernels", "--variants", "a,,b"}), HasSubstr("--variants: expected chosen"));
  EXPECT_THAT(Refusal({"kernels", "--seconds", "0"}), HasSubstr("--seconds: expected a number"));
  EXPECT_THAT(Refusal({"kernels", "--seconds", "nan"}), HasSubstr("--seconds: expected a number"));
}

TEST(BenchArgumentsTest, WhatIsNoListOfOpsIsRefusedWithWhatWasExpected) {
  const auto refusal = [](const std::string& ops) { return Refusal({"kernels", "--ops", ops}); };
  EXPECT_THAT(refusal("[{"), HasSubstr("--ops: parse error at line 1, column 3"));
  EXPECT_THAT(refusal(R"({"scale": {"value": 2}})"),
              HasSubstr("--ops: expected a list of ops, found an object"));
  EXPECT_THAT(refusal(R"([{"selu": {}}])"), AllOf(HasSubstr("--ops: "), HasSubstr("selu")));
  EXPECT_THAT(refusal(R"([{"scale": {}}])"),
              HasSubstr("epilogue[0].scale: expected value or tensor, found neither"));
  EXPECT_THAT(refusal(R"([{"residual": {"ops": []}}])"), HasSubstr("--ops: "));
  EXPECT_THAT(refusal(R"([]}], "name": "other", "layers": [{"epilogue": [])"),
              HasSubstr("--ops: parse error"));
}

TEST(BenchArgumentsTest, ProblemsThatCannotBeAreRefused) {
  EXPECT_THAT(Refusal({"kernels", "--m", "1", "--epilogue", "batch_norm_train"}),
              HasSubstr("--m: expected at least 2 rows for batch statistics, found 1"));
  EXPECT_THAT(Refusal({"kernels", "--n", "8", "--k", "16", "--layers", "2"}),
              HasSubstr("--layers: expected n = k in a chain, found n = 8 and k = 16"));
  EXPECT_THAT(Refusal({"kernels", "--n", "8", "--k", "16", "--ops", R"([{"add_input": {}}])"}),
              HasSubstr("--ops: expected n = k for add_input"));
}

TEST(BenchArgumentsTest, ACommandLineThatIsNoneIsRefused) {
  EXPECT_THAT(Refusal({}), HasSubstr("expected the command kernels or engine, found none"));
  EXPECT_THAT(Refusal({"kernel"}),
              HasSubstr("expected the command kernels or engine, found \"kernel\""));
  EXPECT_THAT(Refusal({"kernels", "--m"}), HasSubstr("--m"));
  EXPECT_THAT(Refusal({"kernels", "--rows", "3"}), HasSubstr("--rows"));
  EXPECT_THAT(Refusal({"kernels", "--epilogue", "gelu", "--ops", "[]"}), HasSubstr("--ops"));
}

TEST(BenchArgumentsTest, TheEngineIsMeasuredWithBlocksOfSquareLayers) {
  const Arguments arguments = ParseGood({"engine", "--n", "64", "--m", "1,16", "--lanes", "1,2",
                                         "--dtype", "bf16,fp16", "--wire", "fp32"});
  EXPECT_EQ(arguments.command, BenchCommand::kEngine);
  const EngineBenchOptions& engine = arguments.engine;
  ASSERT_EQ(engine.problems.size(), 4u);
  EXPECT_EQ(engine.problems[0].layers, 8);
  EXPECT_EQ(engine.problems[0].k, 64);
  EXPECT_EQ(engine.problems[1].compute, engine.problems[0].compute);
  EXPECT_THAT(engine.lanes, testing::ElementsAre(1, 2));
  EXPECT_TRUE(engine.is_wire_fp32);
}

TEST(BenchArgumentsTest, WrongArgumentsOfTheEngineAreRefused) {
  EXPECT_THAT(Refusal({"engine", "--lanes", "0"}),
              HasSubstr("--lanes: expected a whole number from 1 to 16, found \"0\""));
  EXPECT_THAT(Refusal({"engine", "--wire", "int8"}),
              HasSubstr("--wire: expected same or fp32, found \"int8\""));
  EXPECT_THAT(Refusal({"engine", "--n", "8,16"}),
              HasSubstr("--n: expected one number of features, found \"8,16\""));
  EXPECT_THAT(Refusal({"engine", "--m", "0"}), HasSubstr("--m: expected "));
}

TEST(BenchArgumentsTest, HelpNamesEveryFlagAndEndsWell) {
  const auto parsed = Parse({"kernels", "--help"});
  const Exit* exit = std::get_if<Exit>(&parsed);
  ASSERT_NE(exit, nullptr);
  EXPECT_EQ(exit->code, 0);
  for (const char* flag : {"--m", "--n", "--k", "--dtype", "--epilogue", "--ops", "--variants",
                           "--layers", "--seconds", "--backend", "--json", "--kernel-cache",
                           "--mode", "--plan", "--list", "--compile", "--padding"}) {
    EXPECT_THAT(exit->text, HasSubstr(flag));
  }
}

}  // namespace
}  // namespace mlpserve::tools
