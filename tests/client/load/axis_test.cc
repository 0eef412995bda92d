#include "client/load/axis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve::load {
namespace {

using ::testing::ElementsAre;

// Every tick lies on the axis, in order; so do the values.
void ExpectSound(const Axis& axis, const std::vector<double>& values) {
  EXPECT_LT(axis.low, axis.high);
  EXPECT_FALSE(axis.ticks.empty());
  double last = -1;
  for (const double tick : axis.ticks) {
    EXPECT_GT(axis.Fraction(tick), last);
    EXPECT_GE(axis.Fraction(tick), -1e-6);
    EXPECT_LE(axis.Fraction(tick), 1 + 1e-6);
    last = axis.Fraction(tick);
  }
  for (const double value : values) {
    EXPECT_GE(axis.Fraction(value), -1e-6) << value;
    EXPECT_LE(axis.Fraction(value), 1 + 1e-6) << value;
  }
}

TEST(AxisTest, HoldsAllValuesWhateverTheyAre) {
  const std::vector<std::vector<double>> sets = {
      {},     {1},         {0.1, 0.3},       {0.9, 1.1},      {1e-3, 1e4}, {5, 5, 5},
      {2, 2}, {10, 10000}, {1, 2, 4, 8, 16}, {99999, 100001}, {0.35, 71},  {1, 999.999}};
  for (const auto& values : sets) {
    ExpectSound(LinearFromZero(values), values);
    ExpectSound(Logarithmic(values), values);
    if (!values.empty()) ExpectSound(OverPoints(values), values);
  }
}

TEST(AxisTest, RoundNumbersAreMarked) {
  EXPECT_THAT(LinearFromZero({38'992}).ticks, ElementsAre(0, 10'000, 20'000, 30'000, 40'000));
  EXPECT_THAT(Logarithmic({0.146, 4.7}).ticks, ElementsAre(0.1, 0.2, 0.5, 1, 2, 5));
  EXPECT_THAT(Logarithmic({0.2, 139}).ticks, ElementsAre(0.1, 1, 10, 100, 1000));
  EXPECT_THAT(OverPoints({1, 8, 32}).ticks, ElementsAre(1, 8, 32));
}

TEST(AxisTest, NumbersAreShort) {
  EXPECT_EQ(ShortNumber(0), "0");
  EXPECT_EQ(ShortNumber(0.25), "0.25");
  EXPECT_EQ(ShortNumber(250), "250");
  EXPECT_EQ(ShortNumber(1500), "1.5k");
  EXPECT_EQ(ShortNumber(40'000), "40k");
  EXPECT_EQ(ShortNumber(2e6), "2M");
}

}  // namespace
}  // namespace mlpserve::load
