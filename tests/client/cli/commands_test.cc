#include "client/cli/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "client/tensor/tensor_file.h"
#include "tests/client/fake_server.h"

namespace mlpserve::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CommandsTest : public ::testing::Test {
 protected:
  int Run(std::variant<StatusCommand, ListCommand, InferCommand> command) {
    out_.str("");
    err_.str("");
    Arguments arguments{.address = server_.address(), .command = std::move(command)};
    return RunCommand(arguments, {out_, err_});
  }

  std::string Write(const std::string& name, const std::string& contents) {
    std::string file = ::testing::TempDir() + "/" + name;
    std::ofstream(file, std::ios::binary) << contents;
    return file;
  }

  FakeServer server_;
  std::ostringstream out_, err_;
};

TEST_F(CommandsTest, StatusShowsTheServerAndItsBlocks) {
  EXPECT_EQ(Run(StatusCommand{}), 0);
  EXPECT_THAT(out_.str(),
              AllOf(HasSubstr("fake 1.2"), HasSubstr("ready       yes"), HasSubstr("1 of 2 ready"),
                    HasSubstr("double  1  READY        x FP32 [-1,3] -> y FP32 [-1,3]"),
                    HasSubstr("bad     3  UNAVAILABLE  fc0.weight: expected [3, 4]")));
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CommandsTest, StatusOfAServerThatIsNotReadyFails) {
  server_.service().ready = false;
  EXPECT_EQ(Run(StatusCommand{}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("ready       no"));
  EXPECT_THAT(err_.str(), HasSubstr("expected a server that is ready"));
}

TEST_F(CommandsTest, ListIsATable) {
  EXPECT_EQ(Run(ListCommand{}), 0);
  EXPECT_EQ(out_.str(),
            "NAME    VERSION  STATE        REASON\n"
            "double  1        READY\n"
            "bad     3        UNAVAILABLE  fc0.weight: expected [3, 4], found [3, 5]\n");
}

TEST_F(CommandsTest, InferWritesTheResultsInEveryFormat) {
  const std::string input = Write("x.csv", "a,b,c\n1,2,3\n4,5,6\n");
  for (const char* name : {"y.csv", "y.npy", "y.safetensors"}) {
    const std::string output = ::testing::TempDir() + "/" + name;
    EXPECT_EQ(Run(InferCommand{.model = "double", .input = {input, ""}, .output = output}), 0)
        << err_.str();
    EXPECT_THAT(out_.str(), StartsWith("2 rows in "));
    const Tensor result = ReadTensor({output, ""}, "").value();
    EXPECT_EQ(Describe(result), "FP32 [2,3]");
    EXPECT_THAT(ToFloats(result), ElementsAre(2, 4, 6, 8, 10, 12));
  }
}

TEST_F(CommandsTest, InferPrintsTheAccuracy) {
  const std::string input = Write("x.csv", "1,2,3\n6,5,4\n1,9,1\n");
  const std::string labels = Write("labels.csv", "2\n0\n2\n");
  EXPECT_EQ(Run(InferCommand{.model = "double", .input = {input, ""}, .labels = {labels, ""}}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("accuracy 66.67% (2 of 3 rows)\n"));
}

TEST_F(CommandsTest, OneRowMayHaveOneDimension) {
  const std::string input = ::testing::TempDir() + "/row.npy";
  const std::vector<float> row = {1, 2, 3};
  ASSERT_TRUE(WriteTensor(input, "", FromFloats(row, {3}, ElementType::kFp32)).ok());
  EXPECT_EQ(Run(InferCommand{.model = "double", .input = {input, ""}}), 0) << err_.str();
}

TEST_F(CommandsTest, AFailureIsOneLineThatNamesExpectedAndFound) {
  const std::string input = Write("x.csv", "1,2\n4,5\n");
  const auto error = [&](InferCommand command) {
    EXPECT_EQ(Run(std::move(command)), 1);
    std::string text = err_.str();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    EXPECT_THAT(text, StartsWith("mlpserve-client: infer (" + server_.address() + "): "));
    return text;
  };
  EXPECT_THAT(error({.model = "other", .input = {input, ""}}),
              HasSubstr("NOT_FOUND: no block 'other'"));
  EXPECT_THAT(error({.model = "double", .input = {input, ""}}),
              HasSubstr("x.csv: expected [rows, 3] for input 'x' of block 'double', found FP32 "
                        "[2,2]"));
  EXPECT_THAT(error({.model = "double", .input = {"/nowhere/x.npy", ""}}),
              HasSubstr("/nowhere/x.npy: expected a readable file"));
  const std::string good = Write("good.csv", "1,2,3\n");
  EXPECT_THAT(error({.model = "double", .input = {good, ""}, .labels = {input, ""}}),
              HasSubstr("x.csv: expected 1 labels, one for each row, found 2"));
  EXPECT_THAT(error({.model = "double", .input = {good, ""}, .output = "/nowhere/y.csv"}),
              HasSubstr("/nowhere/y.csv: writing failed"));
  server_.service().infer = [](const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "queue\nfull");
  };
  EXPECT_THAT(error({.model = "double", .input = {good, ""}}),
              HasSubstr("RESOURCE_EXHAUSTED: rows 0 to 0: queue full"));
}

TEST_F(CommandsTest, NothingIsSentWhereAFileIsWrong) {
  const std::string input = Write("x.csv", "1,2,3\n");
  EXPECT_EQ(Run(InferCommand{
                .model = "double", .input = {input, ""}, .labels = {"/nowhere/labels.csv", ""}}),
            1);
  EXPECT_EQ(server_.service().calls, 0);
}

}  // namespace
}  // namespace mlpserve::client
