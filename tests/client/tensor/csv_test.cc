#include "client/tensor/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace mlpserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  const absl::StatusOr<Tensor> tensor = ParseCsv(text);
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(tensor.status().message());
}

TEST(Csv, ReadsRowsAndColumns) {
  const Tensor tensor = ParseCsv("1,2.5,-3e2\n4,5,6\n").value();
  EXPECT_EQ(Describe(tensor), "FP32 [2,3]");
  EXPECT_THAT(ToFloats(tensor), ElementsAre(1, 2.5, -300, 4, 5, 6));
}

TEST(Csv, AcceptsSpacesEmptyLinesCrlfByteOrderMarkAndNoLastNewline) {
  const Tensor tensor = ParseCsv("\xef\xbb\xbf 1 ,\t2\r\n\r\n\n+3,4\r").value();
  EXPECT_EQ(Describe(tensor), "FP32 [2,2]");
  EXPECT_THAT(ToFloats(tensor), ElementsAre(1, 2, 3, 4));
}

TEST(Csv, SkipsAHeadingLineOnlyWhereNoFieldOfItIsANumber) {
  EXPECT_EQ(Describe(ParseCsv("age,income\n1,2\n").value()), "FP32 [1,2]");
  EXPECT_THAT(ErrorOf("age,2\n1,2\n"), HasSubstr("line 1, column 1: expected an FP32 number, found "
                                                 "'age'"));
  EXPECT_THAT(ErrorOf("a,b\nc,d\n"), HasSubstr("line 2, column 1"));
}

TEST(Csv, NanAndInfinityAreNumbersAndTinyOnesAreRounded) {
  const std::vector<float> values = ToFloats(ParseCsv("nan,inf,-inf,1e-60,1e-45\n").value());
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[2], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[3], 0);
  EXPECT_EQ(values[4], std::numeric_limits<float>::denorm_min());
}

TEST(Csv, WhatIsNoNumberIsNamedByLineAndColumn) {
  EXPECT_THAT(ErrorOf("1,2\n\n3,x4\n"), HasSubstr("line 3, column 2: expected an FP32 number, "
                                                  "found 'x4'"));
  EXPECT_THAT(ErrorOf("1,2\n3,\n"),
              HasSubstr("line 2, column 2: expected an FP32 number, found ''"));
  EXPECT_THAT(ErrorOf("1;2\n3;4\n"), HasSubstr("line 1, column 1"));
  EXPECT_THAT(ErrorOf("1e60\n2\n"), HasSubstr("line 1, column 1"));
  EXPECT_THAT(ErrorOf("1\n1e60\n"), HasSubstr("found '1e60'"));
  EXPECT_THAT(ErrorOf("1\n+-1\n"), HasSubstr("found '+-1'"));
}

TEST(Csv, UnequalRowsAndNoRowsAreErrors) {
  EXPECT_THAT(ErrorOf("1,2\n3\n"), HasSubstr("line 2: expected 2 columns, found 1"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("at least one line of numbers, found none"));
  EXPECT_THAT(ErrorOf("\n \n"), HasSubstr("found none"));
}

TEST(Csv, FloatsComeBackExactly) {
  const std::vector<float> values = {0.1f, -1e-38f, 16777217.0f, 3.4028235e38f, 1.0f, 0x1p-149f};
  const std::string text = FormatCsv(FromFloats(values, {2, 3}, ElementType::kFp32));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(ToFloats(ParseCsv(text).value()), ::testing::ElementsAreArray(values));
}

TEST(Csv, WritesIntegersOneDimensionAndNothing) {
  const int32_t values[] = {7, -8};
  const Tensor integers{
      ElementType::kInt32, {2}, std::string(reinterpret_cast<const char*>(values), sizeof(values))};
  EXPECT_EQ(FormatCsv(integers), "7\n-8\n");
  EXPECT_EQ(FormatCsv(FromFloats({}, {0, 3}, ElementType::kFp32)), "");
}

}  // namespace
}  // namespace mlpserve::client
