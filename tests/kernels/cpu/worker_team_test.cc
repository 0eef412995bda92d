#include "kernels/cpu/worker_team.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mlpserve::cpu {
namespace {

// Work that any number of threads can share: each takes numbers until none is left.
int64_t SumOnTeam(WorkerTeam& team, int64_t count) {
  std::atomic<int64_t> next = 0;
  std::atomic<int64_t> sum = 0;
  team.Run([&](int) {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) sum += i;
  });
  return sum;
}

// The workers sleep at once, or wait awake; where the machine has fewer cores than threads, both
// sleep.
class WorkerTeamTest : public testing::TestWithParam<std::chrono::microseconds> {};

TEST_P(WorkerTeamTest, OneThreadIsTheCaller) {
  WorkerTeam team(1, GetParam());
  EXPECT_EQ(team.threads(), 1);
  const std::thread::id caller = std::this_thread::get_id();
  team.Run([&](int thread) {
    EXPECT_EQ(thread, 0);
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
}

TEST_P(WorkerTeamTest, WorkIsCompleteWhenRunReturns) {
  WorkerTeam team(4, GetParam());
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(SumOnTeam(team, 100), 4950);
}

TEST_P(WorkerTeamTest, WorkersJoinWorkThatLasts) {
  WorkerTeam team(3, GetParam());
  std::atomic<int> joined = 0;
  team.Run([&](int) {
    ++joined;
    while (joined < 3) std::this_thread::yield();
  });
  EXPECT_EQ(joined, 3);
}

TEST_P(WorkerTeamTest, WorkersJoinAgainWhetherTheySleepOrNot) {
  WorkerTeam team(2, GetParam());
  for (int pause_us : {0, 0, 10, 40, 60, 200, 1000, 0}) {
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    std::atomic<int> joined = 0;
    team.Run([&](int) {
      ++joined;
      while (joined < 2) std::this_thread::yield();
    });
    EXPECT_EQ(joined, 2);
  }
}

TEST_P(WorkerTeamTest, AnIdleTeamEnds) {
  for (int i = 0; i < 50; ++i) {
    WorkerTeam team(3, GetParam());
    if (i % 2 == 0) SumOnTeam(team, 10);
  }
}

TEST_P(WorkerTeamTest, EachThreadHasANumberOfItsOwn) {
  WorkerTeam team(4, GetParam());
  for (int i = 0; i < 500; ++i) {
    std::atomic<int> inside[4] = {};
    std::atomic<int64_t> next = 0;
    team.Run([&](int thread) {
      EXPECT_EQ(inside[thread].fetch_add(1), 0);
      while (next.fetch_add(1) < 50) std::this_thread::yield();
      inside[thread].fetch_sub(1);
    });
  }
}

TEST_P(WorkerTeamTest, CallersAtOnceDoNotDisturbOneAnother) {
  WorkerTeam team(3, GetParam());
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&team] {
      for (int i = 0; i < 1000; ++i) {
        const int64_t count = 20 + i % 7;
        ASSERT_EQ(SumOnTeam(team, count), count * (count - 1) / 2);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

INSTANTIATE_TEST_SUITE_P(Spins, WorkerTeamTest,
                         testing::Values(std::chrono::microseconds(0),
                                         std::chrono::microseconds(50)),
                         [](const auto& spin) {
                           return spin.param.count() == 0 ? "Zero" : "Some";
                         });

}  // namespace
}  // namespace mlpserve::cpu
