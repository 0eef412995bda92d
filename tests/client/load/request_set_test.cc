#include "client/load/request_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

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
