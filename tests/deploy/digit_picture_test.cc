#include "deploy/demo/digit_picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace mlpserve::demo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Pictures, ShowInkAndCaptionSideBySide) {
  std::vector<float> pixels(kDigitPixels, -1.0f);
  pixels[0] = 1;                 // first line, first pixel
  pixels[kDigitPixels - 1] = 0;  // last line, last pixel
  const std::string text = Pictures({{pixels, 3, 3}, {pixels, 8, 5}});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), kDigitSide + 1);
  EXPECT_THAT(text, StartsWith("@@                @@\n"));
  EXPECT_THAT(text, HasSubstr("\n              ++                ++\n"));
  EXPECT_THAT(text, HasSubstr("said 3, is 3      said 8, is 5 !\n"));
}

TEST(Pictures, ValuesOutOfRangeAreClamped) {
  const std::vector<float> pixels(kDigitPixels, 7.0f);
  EXPECT_THAT(Pictures({{pixels, 1, 1}}), StartsWith("@@@@@@@@@@@@@@@@\n"));
}

TEST(Pictures, OfNothingAreEmptyLines) { EXPECT_THAT(Pictures({}), Not(HasSubstr("said"))); }

}  // namespace
}  // namespace mlpserve::demo
