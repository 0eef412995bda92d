#include "client/load/request_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "absl/strings/str_join.h"
#include "client/load/row_source.h"
#include "client/load/wire.h"
#include "client/tensor/tensor_file.h"
#include "proto/open_inference.pb.h"

namespace mlpserve::load {
namespace {

using client::ElementType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Write(const std::string& name, const std::string& contents) {
  std::string file = ::testing::TempDir() + "/" + name;
  std::ofstream(file, std::ios::binary) << contents;
  return file;
}

InputSpec Input(std::string_view text) { return ParseInputSpec(text).value(); }

std::vector<float> ValuesOf(const RequestSet& set, size_t index) {
  inference::ModelInferRequest message;
  EXPECT_TRUE(ParseMessage(set.message(index), message));
  return client::ToFloats({ElementType::kFp32, {}, message.raw_input_contents(0)});
}

std::string Error(const RequestOptions& options, int64_t rows) {
  const auto set = RequestSet::Make(options, rows);
  EXPECT_FALSE(set.ok());
  return std::string(set.status().message());
}

TEST(InputSpecTest, NameDatatypeAndDimensions) {
  const InputSpec input = Input("a:b:UINT8:3,224");
  EXPECT_EQ(input.name, "a:b");
  EXPECT_EQ(input.type, ElementType::kUint8);
  EXPECT_THAT(ShapeOf(input, 5), ElementsAre(5, 3, 224));
  EXPECT_THAT(ShapeOf(Input("x:FP32:"), 5), ElementsAre(5));
  for (const char* wrong : {"", "x", "x:FP32", ":FP32:3", "x:FP31:3", "x:BYTES:3", "x:FP32:0",
                            "x:FP32:-1,3", "x:FP32:a"}) {
    EXPECT_FALSE(ParseInputSpec(wrong).ok()) << wrong;
  }
}

TEST(InputSpecTest, FromTheServersMetadata) {
  client::BlockMetadata metadata;
  metadata.name = "m";
  EXPECT_THAT(std::string(InputsOf(metadata).status().message()), HasSubstr("found none"));
  metadata.inputs = {{"x", "FP16", {-1, 64}}, {"fixed", "INT64", {2, 3}}};
  const auto inputs = InputsOf(metadata).value();
  EXPECT_THAT(ShapeOf(inputs[0], 7), ElementsAre(7, 64));
  EXPECT_THAT(ShapeOf(inputs[1], 7), ElementsAre(2, 3));
  metadata.inputs = {{"x", "FP32", {-1, -1}}};
  EXPECT_THAT(std::string(InputsOf(metadata).status().message()),
              HasSubstr("input x FP32 [-1,-1]: expected no free dimension but the first (--input"));
  metadata.inputs = {{"x", "BYTES", {-1}}};
  EXPECT_THAT(std::string(InputsOf(metadata).status().message()), HasSubstr("fixed size"));
}

TEST(InputSpecTest, OutputsToo) {
  client::BlockMetadata metadata;
  metadata.name = "m";
  EXPECT_THAT(std::string(OutputsOf(metadata).status().message()), HasSubstr("found none"));
  metadata.outputs = {{"y", "FP32", {-1, 10}}};
  EXPECT_THAT(ShapeOf(OutputsOf(metadata).value()[0], 7), ElementsAre(7, 10));
  metadata.outputs = {{"y", "BYTES", {-1}}};
  EXPECT_THAT(
      std::string(OutputsOf(metadata).status().message()),
      HasSubstr("output y BYTES [-1]: expected a datatype of fixed size, as --shared-memory"));
}

TEST(RowSourceTest, RandomRowsAreOfTheTypeAndDependOnTheSeed) {
  for (const char* type : {"BOOL", "UINT8", "INT64", "FP16", "BF16", "FP32", "FP64"}) {
    const InputSpec input = Input("x:" + std::string(type) + ":4");
    const Rows rows = RandomRows(input, 100, 1);
    EXPECT_EQ(rows.bytes.size(), 400 * client::ByteSize(input.type)) << type;
    const auto values = client::ToFloats({input.type, {100, 4}, rows.bytes});
    for (const float value : values) EXPECT_LT(std::abs(value), 100) << type;
    if (type == std::string("BOOL")) {
      EXPECT_LE(*std::max_element(values.begin(), values.end()), 1);
    }
    EXPECT_EQ(rows.bytes, RandomRows(input, 100, 1).bytes);
    EXPECT_NE(rows.bytes, RandomRows(input, 100, 2).bytes);
  }
}

TEST(RowSourceTest, TakingStartsAgainAtTheEnd) {
  const Rows rows{3, 2, "aabbcc"};
  EXPECT_EQ(rows.Take(0, 3), "aabbcc");
  EXPECT_EQ(rows.Take(2, 2), "ccaa");
  EXPECT_EQ(rows.Take(4, 7), "bbccaabbccaabb");
}

TEST(RowSourceTest, AFileIsRoundedToTheInputsType) {
  const std::string file = Write("x.csv", "1,2\n3,4\n");
  const Rows rows = ReadRows({file, ""}, Input("x:BF16:2")).value();
  EXPECT_EQ(rows.count, 2);
  EXPECT_EQ(rows.row_bytes, 4U);
  EXPECT_THAT(client::ToFloats({ElementType::kBf16, {2, 2}, rows.bytes}), ElementsAre(1, 2, 3, 4));
}

TEST(RowSourceTest, AFileThatDoesNotFitIsNamed) {
  const std::string file = Write("x.csv", "1,2\n3,4\n");
  EXPECT_THAT(std::string(ReadRows({file, ""}, Input("x:FP32:3")).status().message()),
              HasSubstr("x.csv: expected rows of FP32 [-1,3] for 'x', found FP32 [2,2]"));
  EXPECT_FALSE(ReadRows({file, ""}, Input("x:INT64:2")).ok()) << "no floats for integers";
  EXPECT_FALSE(ReadRows({"/nowhere/x.csv", ""}, Input("x:FP32:3")).ok());
}

TEST(RequestSetTest, GoesThroughTheFileAndStartsAgain) {
  const std::string file = Write("x.csv", "1\n2\n3\n4\n5\n");
  RequestOptions options{.model = "m", .version = "3", .inputs = {Input("x:FP32:1")}};
  options.files["x"] = {file, ""};
  options.priority = 2;
  const RequestSet set = RequestSet::Make(options, 2).value();
  ASSERT_EQ(set.size(), 3U);
  EXPECT_EQ(set.file_rows(), 5);
  EXPECT_THAT(ValuesOf(set, 0), ElementsAre(1, 2));
  EXPECT_THAT(ValuesOf(set, 2), ElementsAre(5, 1));
  EXPECT_EQ(set.first_row(2), 4);
  inference::ModelInferRequest message;
  ASSERT_TRUE(ParseMessage(set.message(0), message));
  EXPECT_EQ(message.model_name(), "m");
  EXPECT_EQ(message.model_version(), "3");
  EXPECT_EQ(message.parameters().at("priority").int64_param(), 2);
  EXPECT_EQ(message.inputs(0).name(), "x");
  EXPECT_THAT(message.inputs(0).shape(), ElementsAre(2, 1));

  const RequestSet large = RequestSet::Make(options, 7).value();
  EXPECT_THAT(ValuesOf(large, 0), ElementsAre(1, 2, 3, 4, 5, 1, 2));
}

// "x" and "y" of two rows a request, the outputs "z" of two rows and "s" of one value.
RequestOptions SharedOptions() {
  RequestOptions options{.model = "m", .inputs = {Input("x:FP32:1"), Input("y:UINT8:3")}};
  options.files["x"] = {Write("x.csv", "1\n2\n3\n4\n5\n"), ""};
  options.shared_outputs = {Input("z:FP32:2"), {"s", ElementType::kFp32, {1}, /*has_rows=*/false}};
  return options;
}

// Where its parameters say.
std::string SharedBytes(
    const RequestSet& set,
    const google::protobuf::Map<std::string, inference::InferParameter>& where) {
  EXPECT_EQ(where.at("shared_memory_region").string_param(), set.shared()->key());
  const auto offset = where.find("shared_memory_offset");
  return set.shared()
      ->Read(offset == where.end() ? 0 : offset->second.int64_param(),
             where.at("shared_memory_byte_size").int64_param())
      .value();
}

TEST(RequestSetTest, RowsMayLieInSharedMemory) {
  const RequestSet set = RequestSet::Make(SharedOptions(), 2).value();
  ASSERT_EQ(set.size(), 3U);
  EXPECT_EQ(set.shared()->bytes(), 3 * (8 + 6 + 16 + 4));
  const std::string expected[] = {"1 2", "3 4", "5 1"};
  for (size_t i = 0; i < 3; ++i) {
    inference::ModelInferRequest message;
    ASSERT_TRUE(ParseMessage(set.message(i), message));
    EXPECT_EQ(message.raw_input_contents_size(), 0);
    EXPECT_THAT(message.inputs(0).shape(), ElementsAre(2, 1));
    const auto x = client::ToFloats(
        {ElementType::kFp32, {}, SharedBytes(set, message.inputs(0).parameters())});
    EXPECT_EQ(absl::StrJoin(x, " "), expected[i]);
    EXPECT_EQ(SharedBytes(set, message.inputs(1).parameters()).size(), 6U);
    ASSERT_EQ(message.outputs_size(), 2);
    EXPECT_EQ(message.outputs(0).name(), "z");
    EXPECT_EQ(SharedBytes(set, message.outputs(0).parameters()), std::string(16, '\0'));
    EXPECT_EQ(SharedBytes(set, message.outputs(1).parameters()).size(), 4U);
  }
  EXPECT_EQ(RequestSet::Make({.model = "m", .inputs = {Input("x:FP32:1")}}, 1)->shared(), nullptr);
}

TEST(RequestSetTest, OutputsAreTakenFromSharedMemory) {
  RequestOptions options = SharedOptions();
  options.inputs[0] = Input("x:FP32:4");  // as much as z: its rows are taken for the output's
  options.files["x"] = {Write("x.csv", "1,2,3,4\n5,6,7,8\n"), ""};
  options.shared_outputs = {Input("z:FP32:4")};
  const RequestSet set = RequestSet::Make(options, 1).value();
  inference::ModelInferResponse answer;
  auto& output = *answer.add_outputs();
  output.set_name("z");
  answer.add_raw_output_contents("in the message");
  EXPECT_TRUE(set.TakeOutputs(1, answer).ok());
  EXPECT_EQ(answer.raw_output_contents(0), "in the message") << "as it came";
  (*output.mutable_parameters())["shared_memory_region"].set_string_param(set.shared()->key());
  EXPECT_TRUE(set.TakeOutputs(1, answer).ok());
  EXPECT_EQ(answer.raw_output_contents(0), std::string(16, '\0'));
  answer.clear_raw_output_contents();
  EXPECT_TRUE(set.TakeOutputs(1, answer).ok());
  EXPECT_EQ(answer.raw_output_contents(0), std::string(16, '\0'));
  output.set_name("other");
  EXPECT_THAT(std::string(set.TakeOutputs(1, answer).message()), HasSubstr("'other'"));
}

TEST(SharedRowsTest, ANameIsFreeAfterItAndRoomIsAskedForFirst) {
  std::string key;
  {
    const auto rows = SharedRows::Create(100).value();
    key = rows->key();
    EXPECT_NE(SharedRows::Create(1).value()->key(), key);
    ASSERT_TRUE(rows->Write(90, "0123456789").ok());
    EXPECT_EQ(rows->Read(95, 5).value(), "56789");
    EXPECT_FALSE(rows->Read(95, 6).ok()) << "it has no more";
    EXPECT_EQ(access(("/dev/shm" + key).c_str(), F_OK), 0);
  }
  EXPECT_NE(access(("/dev/shm" + key).c_str(), F_OK), 0);
  const auto huge = SharedRows::Create(int64_t{1} << 60);
  EXPECT_THAT(std::string(huge.status().message()),
              HasSubstr("expected room for 1152921504606846976 bytes"));
}

TEST(RequestSetTest, RandomRequestsDifferAndAreBounded) {
  const RequestOptions options{.model = "m", .inputs = {Input("x:FP32:4"), Input("y:INT32:1")}};
  const RequestSet set = RequestSet::Make(options, 2).value();
  EXPECT_EQ(set.size(), 64U);
  EXPECT_NE(ValuesOf(set, 0), ValuesOf(set, 1));
  EXPECT_EQ(RequestSet::Make(options, 1 << 22).value().size(), 1U);
}

TEST(RequestSetTest, WhatCannotBeSentIsNamed) {
  RequestOptions options{.model = "m", .inputs = {Input("x:FP32:4"), Input("y:FP32:1")}};
  EXPECT_THAT(Error(options, int64_t{1} << 40), HasSubstr("at most 2 GiB"));
  options.shared_outputs = {Input("z:FP32:1073741824")};
  EXPECT_THAT(Error(options, 1), HasSubstr("at most 2 GiB"));
  options.shared_outputs.clear();
  options.files["z"] = {Write("z.csv", "1\n"), ""};
  EXPECT_THAT(Error(options, 1), HasSubstr("model 'm' has no input 'z'"));
  options.files.clear();
  options.files["x"] = {Write("x.csv", "1,2,3,4\n5,6,7,8\n"), ""};
  options.files["y"] = {Write("y.csv", "1\n2\n3\n"), ""};
  EXPECT_THAT(Error(options, 1), HasSubstr("expected 2 rows, as many as for input 'x', found 3"));
  options.files.clear();
  options.inputs = {{"f", ElementType::kFp32, {3}, /*has_rows=*/false}};
  EXPECT_THAT(Error(options, 2), HasSubstr("expected 1 row a request, found 2"));
  EXPECT_TRUE(RequestSet::Make(options, 1).ok());
}

}  // namespace
}  // namespace mlpserve::load
