// What needs no clock: who is run once more, and what their figures become.
#include "kernels/cuda/engine/timing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/engine/measurer.h"

namespace mlpserve::cuda {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(TiedTest, AreThoseWithinFivePercentOfTheFastest) {
  EXPECT_THAT(Tied({210, 200, 211, 0, 205}), ElementsAre(0, 1, 4));
}

TEST(TiedTest, ShortOnesAndAClearWinnerAreSettledAlready) {
  EXPECT_THAT(Tied({30, 30.5}), IsEmpty());
  EXPECT_THAT(Tied({kSettledAboveUs, kSettledAboveUs}), IsEmpty());
  EXPECT_THAT(Tied({200, 211}), IsEmpty());
  EXPECT_THAT(Tied({0, 0}), IsEmpty());
  EXPECT_THAT(Tied({}), IsEmpty());
}

TEST(SettleTest, ConstantLoadRanksTheTiedOnesAndLeavesTheOthers) {
  std::vector<double> us = {205, 200, 300};
  Settle({0, 1}, {210, 231}, us);
  EXPECT_NEAR(us[0], 200, 1e-9);
  EXPECT_NEAR(us[1], 220, 1e-9);
  EXPECT_EQ(us[2], 300);
}

TEST(ColdCopiesTest, AreMoreThanL2HoldsAndNeverWithoutBound) {
  EXPECT_EQ(ColdCopies(int64_t{8192} * 8192 * 2), 3);
  EXPECT_EQ(ColdCopies(int64_t{1} << 34), 2);
  EXPECT_EQ(ColdCopies(1), 64);
  EXPECT_EQ(ColdCopies(0), 64);
}

}  // namespace
}  // namespace mlpserve::cuda
