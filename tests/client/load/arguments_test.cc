#include "client/load/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::variant<Arguments, Exit> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "mlpserve-load");
  return ParseArguments(static_cast<int>(words.size()), words.data());
}

Arguments Right(std::vector<const char*> words) {
  const auto parsed = Parse(std::move(words));
  if (const Exit* exit = std::get_if<Exit>(&parsed)) ADD_FAILURE() << exit->text;
  return std::holds_alternative<Exit>(parsed) ? Arguments{} : std::get<Arguments>(parsed);
}

std::string Wrong(std::vector<const char*> words) {
  const auto parsed = Parse(std::move(words));
  const Exit* exit = std::get_if<Exit>(&parsed);
  EXPECT_NE(exit, nullptr);
  if (exit == nullptr) return "";
  EXPECT_EQ(exit->code, 2);
  EXPECT_EQ(std::count(exit->text.begin(), exit->text.end(), '\n'), 1) << exit->text;
  return exit->text;
}

TEST(LoadArgumentsTest, Defaults) {
  const Arguments arguments = Right({"digits"});
  EXPECT_EQ(arguments.run.model, "digits");
  EXPECT_EQ(arguments.run.address, "127.0.0.1:8001");
  EXPECT_EQ(arguments.run.duration, std::chrono::seconds(5));
  EXPECT_EQ(arguments.run.warm_up, std::chrono::seconds(1));
  EXPECT_THAT(arguments.rows, ElementsAre(1));
  EXPECT_THAT(arguments.concurrency, ElementsAre(1));
  EXPECT_TRUE(arguments.rates.empty());
}

TEST(LoadArgumentsTest, Everything) {
  const Arguments arguments = Right({"m",
                                     "--rows",
                                     "1,16",
                                     "--rate",
                                     "100:400:x2",
                                     "--arrivals",
                                     "constant",
                                     "--input",
                                     "x:FP32:64",
                                     "--data",
                                     "x=a.safetensors:x",
                                     "--expect",
                                     "b=c.npy",
                                     "--server-pid",
                                     "7,8",
                                     "--duration-s",
                                     "0.5",
                                     "--deadline-ms",
                                     "20",
                                     "--queue-timeout-us",
                                     "300"});
  EXPECT_THAT(arguments.rows, ElementsAre(1, 16));
  EXPECT_THAT(arguments.rates, ElementsAre(100, 200, 400));
  EXPECT_EQ(arguments.run.arrivals, ArrivalKind::kConstant);
  EXPECT_EQ(arguments.inputs.at(0).name, "x");
  EXPECT_EQ(arguments.data.at("x").tensor, "x");
  EXPECT_EQ(arguments.expect.at("b").file, "c.npy");
  EXPECT_THAT(arguments.run.server_pids, ElementsAre(7, 8));
  EXPECT_EQ(arguments.run.duration, std::chrono::milliseconds(500));
  EXPECT_EQ(arguments.queue_timeout, std::chrono::microseconds(300));
  EXPECT_EQ(Right({"m", "--data", "/a=b/x.csv"}).data.at("").file, "/a=b/x.csv");
  EXPECT_FALSE(arguments.shared_memory);
  EXPECT_TRUE(Right({"m", "--shared-memory", "system"}).shared_memory);
  EXPECT_EQ(Right({"m", "--find-rate-p99-ms", "2.5"}).find_rate_p99,
            std::chrono::microseconds(2500));
}

TEST(LoadArgumentsTest, HelpSaysEveryFlag) {
  const auto parsed = Parse({"--help"});
  const Exit& exit = std::get<Exit>(parsed);
  EXPECT_EQ(exit.code, 0);
  EXPECT_THAT(exit.text, HasSubstr("--find-rate-p99-ms"));
}

TEST(LoadArgumentsTest, WhatIsWrongIsOneLine) {
  EXPECT_THAT(Wrong({}), HasSubstr("model is required"));
  EXPECT_THAT(Wrong({"m", "--address", ""}), HasSubstr("expected host:port"));
  EXPECT_THAT(Wrong({"m", "--rows", "0"}), HasSubstr("found '0'"));
  EXPECT_THAT(Wrong({"m", "--concurrency", "1.5"}), HasSubstr("whole numbers"));
  EXPECT_THAT(Wrong({"m", "--rate", "-3"}), HasSubstr("found '-3'"));
  EXPECT_THAT(Wrong({"m", "--rate", "5", "--concurrency", "2"}), HasSubstr("excludes"));
  EXPECT_THAT(Wrong({"m", "--rate", "5", "--find-rate-p99-ms", "2"}), HasSubstr("excludes"));
  EXPECT_THAT(Wrong({"m", "--streaming", "--deadline-ms", "5"}), HasSubstr("excludes"));
  EXPECT_THAT(Wrong({"m", "--duration-s", "0"}), HasSubstr("--duration-s"));
  EXPECT_THAT(Wrong({"m", "--arrivals", "bursts"}), HasSubstr("bursts"));
  EXPECT_THAT(Wrong({"m", "--input", "x"}), HasSubstr("NAME:DATATYPE:DIM"));
  EXPECT_THAT(Wrong({"m", "--data", "x.txt"}), HasSubstr("found 'x.txt'"));
  EXPECT_THAT(Wrong({"m", "--data", "a.csv", "--data", "b.csv"}), HasSubstr("found two"));
  EXPECT_THAT(Wrong({"m", "--expect", "a.csv"}), HasSubstr("expected --data with --expect"));
  EXPECT_THAT(Wrong({"m", "--json", "-", "--csv", "-"}), HasSubstr("found more"));
  EXPECT_THAT(Wrong({"m", "--server-pid", "x"}), HasSubstr("found 'x'"));
  EXPECT_THAT(Wrong({"m", "--shared-memory", "cuda"}), HasSubstr("cuda"));
}

}  // namespace
}  // namespace mlpserve::load
