#include "client/load/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Error(std::string_view text) {
  const auto values = ParseCounts(text, 1, 1000);
  EXPECT_FALSE(values.ok()) << text;
  return std::string(values.status().message());
}

TEST(ValuesTest, ListsAndRanges) {
  EXPECT_THAT(*ParseCounts("7", 1, 1000), ElementsAre(7));
  EXPECT_THAT(*ParseCounts("1,16,4", 1, 1000), ElementsAre(1, 16, 4));
  EXPECT_THAT(*ParseCounts("1:8:x2", 1, 1000), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(*ParseCounts("10:55:20", 1, 1000), ElementsAre(10, 30, 50));
  EXPECT_THAT(*ParseCounts("1,2:3:1,9:9:x2", 1, 1000), ElementsAre(1, 2, 3, 9));
  EXPECT_THAT(*ParseValues("0.5:2:x2", 0, 10), ElementsAre(0.5, 1, 2));
}

TEST(ValuesTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(Error(""), HasSubstr("expected a number, found ''"));
  EXPECT_THAT(Error("1,,2"), HasSubstr("expected a number, found ''"));
  EXPECT_THAT(Error("x"), HasSubstr("found 'x'"));
  EXPECT_THAT(Error("nan"), HasSubstr("found 'nan'"));
  EXPECT_THAT(Error("1e999"), HasSubstr("found '1e999'"));
  EXPECT_THAT(Error("0"), HasSubstr("values from 1 to 1000, found '0'"));
  EXPECT_THAT(Error("1001"), HasSubstr("found '1001'"));
  EXPECT_THAT(Error("1.5"), HasSubstr("whole numbers, found '1.5'"));
  EXPECT_THAT(Error("1:2"), HasSubstr("FROM:TO:STEP"));
  EXPECT_THAT(Error("1:2:"), HasSubstr("FROM:TO:STEP"));
  EXPECT_THAT(Error("4:2:1"), HasSubstr("upwards"));
  EXPECT_THAT(Error("1:8:0"), HasSubstr("upwards"));
  EXPECT_THAT(Error("1:8:x1"), HasSubstr("upwards"));
  EXPECT_THAT(Error("0:8:x2"), HasSubstr("upwards"));
  EXPECT_THAT(Error("1:1000:0.0001"), HasSubstr("at most 1,000 values"));
}

}  // namespace
}  // namespace mlpserve::load
