#include "server/tools/bench/card_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace mlpserve::tools {
namespace {

using ::testing::HasSubstr;

TEST(CardMonitorTest, TakesMeansOfWhatItSawSinceTheLastTime) {
  std::string error;
  const auto monitor = CardMonitor::Open("0000:01:00.0", error, FAKE_NVML);
  ASSERT_NE(monitor, nullptr) << error;
  EXPECT_EQ(monitor->driver(), "580.00");
  EXPECT_DOUBLE_EQ(monitor->power_limit_w(), 700);
  CardState first;
  while (first.samples == 0) {
    std::this_thread::sleep_for(CardMonitor::kPeriod);
    first = monitor->Take();
  }
  EXPECT_DOUBLE_EQ(first.power_w, 650.5);
  EXPECT_DOUBLE_EQ(first.temperature_c, 61);
  EXPECT_LE(first.sm_mhz, 2000);
  CardState second;
  while (second.samples == 0) {
    std::this_thread::sleep_for(CardMonitor::kPeriod);
    second = monitor->Take();
  }
  EXPECT_LT(second.sm_mhz, first.sm_mhz);
}

TEST(CardMonitorTest, SaysWhichLibraryIsMissing) {
  std::string error;
  EXPECT_EQ(CardMonitor::Open("0000:01:00.0", error, "libno-such-thing.so"), nullptr);
  EXPECT_THAT(error, HasSubstr("libno-such-thing.so"));
}

TEST(CardMonitorTest, SaysWhichFunctionIsMissing) {
  std::string error;
  EXPECT_EQ(CardMonitor::Open("0000:01:00.0", error, "libm.so.6"), nullptr);
  EXPECT_THAT(error, HasSubstr("libm.so.6 has no function nvmlInit_v2"));
}

TEST(CardMonitorTest, SaysWhichCardIsMissing) {
  std::string error;
  EXPECT_EQ(CardMonitor::Open("0000:99:00.0", error, FAKE_NVML), nullptr);
  EXPECT_THAT(error, HasSubstr("knows no card at 0000:99:00.0"));
}

}  // namespace
}  // namespace mlpserve::tools
