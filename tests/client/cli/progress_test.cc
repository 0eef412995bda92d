#include "client/cli/progress.h"

#include <gtest/gtest.h>

namespace mlpserve::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Progress::TimePoint kStart{};

TEST(Progress, SaysNothingInTheFirstSecond) {
  Progress progress("rows", 10, true, kStart);
  EXPECT_EQ(progress.Update(3, kStart), "");
  EXPECT_EQ(progress.Update(3, kStart + milliseconds(999)), "");
  EXPECT_EQ(progress.Clear(), "");
}

TEST(Progress, RewritesOneLineOnATerminalTenTimesASecond) {
  Progress progress("rows", 10, true, kStart);
  EXPECT_EQ(progress.Update(3, kStart + seconds(2)), "\r\033[Krows 3/10 (30%, 2 s)");
  EXPECT_EQ(progress.Update(4, kStart + milliseconds(2050)), "");
  EXPECT_EQ(progress.Update(5, kStart + milliseconds(2100)), "\r\033[Krows 5/10 (50%, 2 s)");
  EXPECT_EQ(progress.Clear(), "\r\033[K");
}

TEST(Progress, WritesALineEachTenSecondsElsewhere) {
  Progress progress("rows", 10, false, kStart);
  EXPECT_EQ(progress.Update(3, kStart + seconds(1)), "rows 3/10 (30%, 1 s)\n");
  EXPECT_EQ(progress.Update(4, kStart + seconds(10)), "");
  EXPECT_EQ(progress.Update(5, kStart + seconds(11)), "rows 5/10 (50%, 11 s)\n");
  EXPECT_EQ(progress.Clear(), "");
}

TEST(Progress, OfNothingDividesByNothing) {
  Progress progress("rows", 0, false, kStart);
  EXPECT_EQ(progress.Update(0, kStart + seconds(1)), "rows 0/1 (0%, 1 s)\n");
}

}  // namespace
}  // namespace mlpserve::client
