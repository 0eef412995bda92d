#include "server/machine/limits.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "tests/server/temporary_folder.h"

namespace mlpserve {
namespace {

constexpr int64_t kMachine = int64_t{8} << 30;

// A machine of 8 GiB whose files are the test's; the affinity is the one of this process.
class MachineLimitsTest : public testing::Test {
 protected:
  MachineLimitsTest() { machine_.Write("proc/meminfo", "MemTotal:        8388608 kB\n"); }

  void Unified(const std::string& path) {
    machine_.Write("proc/self/cgroup", "0::" + path + "\n");
    machine_.Write("proc/self/mountinfo",
                   "24 1 0:22 / /proc rw - proc proc rw\n"
                   "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  }
  MachineLimits Read() const { return ReadMachineLimits(machine_.path()); }
  static int Affinity() { return ReadMachineLimits("/no/such/folder").processors; }

  TemporaryFolder machine_;
};

TEST_F(MachineLimitsTest, WithoutCgroupsItIsTheMachine) {
  EXPECT_EQ(Read().memory_bytes, kMachine);
  EXPECT_EQ(Read().processors, Affinity());
  EXPECT_EQ(ReadMachineLimits("/no/such/folder").memory_bytes, 0);
}

TEST_F(MachineLimitsTest, AThreadTiedToOneProcessorCountsOne) {
  int processors = 0;
  std::thread([&] {
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
      if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    processors = ReadMachineLimits().processors;
  }).join();
  EXPECT_EQ(processors, 1);
}

TEST_F(MachineLimitsTest, AQuotaOfVersion2IsRoundedUp) {
  Unified("/");
  machine_.Write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  machine_.Write("sys/fs/cgroup/memory.max", "1073741824\n");
  EXPECT_EQ(Read().processors, 1);
  EXPECT_EQ(Read().memory_bytes, int64_t{1} << 30);
  machine_.Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(Read().processors, std::min(2, Affinity()));
}

TEST_F(MachineLimitsTest, MaxIsNoLimit) {
  Unified("/");
  machine_.Write("sys/fs/cgroup/cpu.max", "max 100000\n");
  machine_.Write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(Read().processors, Affinity());
  EXPECT_EQ(Read().memory_bytes, kMachine);
}

TEST_F(MachineLimitsTest, TheTightestOfTheCgroupsAboveHolds) {
  Unified("/pod/container");
  machine_.Write("sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  machine_.Write("sys/fs/cgroup/pod/container/memory.max", "2147483648\n");
  machine_.Write("sys/fs/cgroup/pod/cpu.max", "20000 100000\n");
  machine_.Write("sys/fs/cgroup/pod/memory.max", "536870912\n");
  EXPECT_EQ(Read().processors, 1);
  EXPECT_EQ(Read().memory_bytes, int64_t{512} << 20);
}

TEST_F(MachineLimitsTest, Version1HasAHierarchyForEachController) {
  machine_.Write("proc/self/cgroup", "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n1:name=x:/\n");
  machine_.Write("proc/self/mountinfo",
                 "31 30 0:27 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
                 "32 30 0:28 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu\n");
  machine_.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
  machine_.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
  machine_.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Read().processors, 1);
  EXPECT_EQ(Read().memory_bytes, int64_t{256} << 20);
  machine_.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  machine_.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Read().processors, Affinity());
  EXPECT_EQ(Read().memory_bytes, kMachine);
}

TEST_F(MachineLimitsTest, FilesThatSayNothingAreNoLimit) {
  Unified("/gone");
  machine_.Write("sys/fs/cgroup/cpu.max", "");
  machine_.Write("sys/fs/cgroup/memory.max", "garbage\n");
  EXPECT_EQ(Read().processors, Affinity());
  EXPECT_EQ(Read().memory_bytes, kMachine);
}

}  // namespace
}  // namespace mlpserve
