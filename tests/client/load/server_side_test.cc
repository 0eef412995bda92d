#include "client/load/server_side.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace mlpserve::load {
namespace {

using std::chrono::microseconds;

TEST(ServerSideTest, TheSplitIsTheDifferenceOverTheRequests) {
  const ServerCounters before{100, 50, 1000, microseconds(7), microseconds(9)};
  const ServerCounters after{104, 52, 1016, microseconds(47), microseconds(29)};
  const auto split = Split(before, after);
  ASSERT_TRUE(split);
  EXPECT_DOUBLE_EQ(split->queue_us, 10);
  EXPECT_DOUBLE_EQ(split->compute_us, 5);
  EXPECT_DOUBLE_EQ(split->batch_rows, 8);
}

TEST(ServerSideTest, NothingIsSaidOfNoRequestsOrARestart) {
  const ServerCounters some{100, 50, 1000, microseconds(7), microseconds(9)};
  EXPECT_FALSE(Split(some, some));
  EXPECT_FALSE(Split(some, ServerCounters{}));
  EXPECT_FALSE(Split(some, {200, 60, 2000, microseconds(1), microseconds(9)}));
}

TEST(ServerSideTest, ProcessorTimeOfThisProcess) {
  const double before = CpuSeconds({::getpid()}).value();
  volatile double sink = 0;
  while (CpuSeconds({::getpid()}).value() < before + 0.02) {
    for (int i = 0; i < 100'000; ++i) sink = sink + i;
  }
  EXPECT_EQ(CpuSeconds({}).value(), 0);
  EXPECT_FALSE(CpuSeconds({::getpid(), 1 << 29}).ok());
}

}  // namespace
}  // namespace mlpserve::load
