#include "client/tensor/classes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace mlpserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Argmax, IsTheFirstOfTheLargest) {
  const std::vector<float> scores = {1, 3, 2, -5, -4, -4, 0, 0, 0};
  EXPECT_THAT(Argmax(scores, 3), ElementsAre(1, 1, 0));
  EXPECT_THAT(Argmax(scores, 1), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(Argmax({}, 3), ElementsAre());
}

TEST(Argmax, NanIsNeverTheLargest) {
  const float nan = std::nanf("");
  const std::vector<float> scores = {nan, -INFINITY, nan, nan, nan, 2, nan, 1};
  EXPECT_THAT(Argmax(scores, 2), ElementsAre(1, -1, 1, 1));
}

TEST(ClassesOf, TakesIntegersOrTheLargestScore) {
  const std::vector<float> values = {2, 0, 1, 5};
  EXPECT_THAT(ClassesOf(FromFloats(values, {4}, ElementType::kFp32)).value(),
              ElementsAre(2, 0, 1, 5));
  EXPECT_THAT(ClassesOf(FromFloats(values, {4, 1}, ElementType::kFp32)).value(),
              ElementsAre(2, 0, 1, 5));
  EXPECT_THAT(ClassesOf(FromFloats(values, {2, 2}, ElementType::kFp32)).value(), ElementsAre(0, 1));
}

TEST(ClassesOf, AnotherShapeIsAnError) {
  const std::vector<float> values = {2, 0, 1, 5};
  EXPECT_THAT(ClassesOf(FromFloats(values, {1, 2, 2}, ElementType::kFp32)).status().message(),
              HasSubstr("expected classes [rows] or scores [rows, classes], found FP32 [1,2,2]"));
  EXPECT_FALSE(ClassesOf(FromFloats(values, {2, 0}, ElementType::kFp32)).ok());
}

TEST(Compare, CountsWhatIsRight) {
  const std::vector<int64_t> predicted = {1, 2, -1, 4}, expected = {1, 3, 3, 4};
  const Accuracy accuracy = Compare(predicted, expected).value();
  EXPECT_EQ(accuracy.right, 2);
  EXPECT_EQ(accuracy.percent(), 50);
  EXPECT_EQ(Compare({}, {}).value().percent(), 0);
}

TEST(Compare, UnequalCountsAreAnError) {
  const std::vector<int64_t> predicted = {1, 2};
  EXPECT_THAT(Compare(predicted, {}).status().message(),
              HasSubstr("one for each of 2 rows, found 0"));
}

}  // namespace
}  // namespace mlpserve::client
