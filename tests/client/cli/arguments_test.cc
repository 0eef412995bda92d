#include "client/cli/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/address.h"
#include "server/version.h"

namespace mlpserve::client {
namespace {

using ::testing::HasSubstr;

std::variant<Arguments, Exit> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "mlpserve-client");
  return ParseArguments(static_cast<int>(words.size()), words.data());
}

InferCommand InferOf(std::vector<const char*> words) {
  return std::get<InferCommand>(std::get<Arguments>(Parse(std::move(words))).command);
}

std::string UsageErrorOf(std::vector<const char*> words) {
  const auto parsed = Parse(std::move(words));
  const Exit* exit = std::get_if<Exit>(&parsed);
  if (exit == nullptr) return "accepted";
  EXPECT_EQ(exit->code, 2);
  EXPECT_EQ(std::count(exit->text.begin(), exit->text.end(), '\n'), 1) << "one line";
  return exit->text;
}

TEST(Arguments, HaveTheDocumentedDefaults) {
  const Arguments arguments = std::get<Arguments>(Parse({"status"}));
  EXPECT_EQ(arguments.address, "127.0.0.1:8001");
  EXPECT_EQ(arguments.deadline, std::chrono::seconds(30));
  EXPECT_TRUE(std::holds_alternative<StatusCommand>(arguments.command));
  const InferCommand infer = InferOf({"infer", "digits", "--input", "x.npy"});
  EXPECT_EQ(infer.model, "digits");
  EXPECT_EQ(infer.rows_per_request, 0);
  EXPECT_EQ(infer.concurrency, 4);
  EXPECT_EQ(infer.labels.file, "");
}

TEST(Arguments, OptionsOfAllCommandsMayStandBeforeAndBehindTheCommand) {
  for (const auto& words : {std::vector<const char*>{"--address", "unix:/a", "list"},
                            std::vector<const char*>{"list", "--address", "unix:/a"}}) {
    const Arguments arguments = std::get<Arguments>(Parse(words));
    EXPECT_EQ(arguments.address, "unix:/a");
    EXPECT_TRUE(std::holds_alternative<ListCommand>(arguments.command));
  }
}

TEST(Arguments, TensorsAreNamedBehindAColonOrByTensor) {
  const InferCommand infer =
      InferOf({"infer", "m", "--input", "t.safetensors:x", "--labels", "t.safetensors:label",
               "--output", "y.csv", "--rows-per-request", "7", "--concurrency", "9"});
  EXPECT_EQ(infer.input.file, "t.safetensors");
  EXPECT_EQ(infer.input.tensor, "x");
  EXPECT_EQ(infer.labels.tensor, "label");
  EXPECT_EQ(infer.output, "y.csv");
  EXPECT_EQ(infer.rows_per_request, 7);
  EXPECT_EQ(infer.concurrency, 9);
  EXPECT_EQ(InferOf({"infer", "m", "--input", "t.safetensors", "--tensor", "z"}).input.tensor, "z");
}

TEST(Arguments, HelpGoesToStdoutWithCodeZero) {
  for (const auto& words :
       {std::vector<const char*>{"--help"}, std::vector<const char*>{"infer", "-h"}}) {
    const auto parsed = Parse(words);
    EXPECT_EQ(std::get<Exit>(parsed).code, 0);
    EXPECT_THAT(std::get<Exit>(parsed).text, HasSubstr("Usage: mlpserve-client"));
  }
}

TEST(Arguments, VersionIsTheBuilds) {
  const auto parsed = Parse({"--version"});
  EXPECT_EQ(std::get<Exit>(parsed).code, 0);
  EXPECT_EQ(std::get<Exit>(parsed).text, std::string("mlpserve-client ") + kVersion + "\n");
}

TEST(Arguments, WrongUsageNamesWhatWasExpectedAndFound) {
  EXPECT_THAT(UsageErrorOf({}), HasSubstr("subcommand is required"));
  EXPECT_THAT(UsageErrorOf({"serve"}), HasSubstr("serve"));
  EXPECT_THAT(UsageErrorOf({"status", "list"}), HasSubstr("list"));
  EXPECT_THAT(UsageErrorOf({"infer", "m"}), HasSubstr("--input is required"));
  EXPECT_THAT(UsageErrorOf({"infer", "--input", "x.npy"}), HasSubstr("model is required"));
  EXPECT_THAT(
      UsageErrorOf({"infer", "m", "--input", "x.txt"}),
      HasSubstr("expected a name that ends with .safetensors, .npy or .csv, found 'x.txt'"));
  EXPECT_THAT(UsageErrorOf({"infer", "m", "--input", "x.npy", "--output", "y"}),
              HasSubstr("--output"));
  EXPECT_THAT(UsageErrorOf({"infer", "m", "--input", "x.npy", "--concurrency", "0"}),
              HasSubstr("--concurrency: Value 0 not in range 1 to 1024"));
  EXPECT_THAT(UsageErrorOf({"--deadline-ms", "soon", "status"}), HasSubstr("soon"));
  for (const char* address : {"", "8001", "host", "host:", "host:port", "host:0", "host:65536",
                              "http://host:1", "::1:8001", "unix:", "[]:1", ":1"}) {
    EXPECT_THAT(UsageErrorOf({"--address", address, "status"}),
                HasSubstr(std::string("expected host:port, [IPv6]:port or unix:path, found '") +
                          address + "'"));
  }
  for (const char* address : {"[::1]:8001", "localhost:1", "dns:///name:1", "ipv4:127.0.0.1:1"}) {
    EXPECT_EQ(WhatIsWrongWithAddress(address), "");
  }
  EXPECT_THAT(UsageErrorOf({"--deadline-ms", "0", "status"}), HasSubstr("--deadline-ms"));
  EXPECT_THAT(UsageErrorOf({"status", "--colour"}), HasSubstr("--colour"));
}

}  // namespace
}  // namespace mlpserve::client
