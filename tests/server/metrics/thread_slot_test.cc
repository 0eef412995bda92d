#include "server/metrics/thread_slot.h"

#include <algorithm>
#include <barrier>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

// The slots of `count` threads that all live at once.
std::vector<int> SlotsOfThreads(int count) {
  std::vector<int> slots(static_cast<size_t>(count), -1);
  std::barrier all_have_theirs(count);
  std::vector<std::thread> threads;
  threads.reserve(slots.size());
  for (int& slot : slots) {
    threads.emplace_back([&] {
      slot = ThreadSlot();
      all_have_theirs.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return slots;
}

TEST(ThreadSlot, StaysTheSameForAThread) { EXPECT_EQ(ThreadSlot(), ThreadSlot()); }

TEST(ThreadSlot, DiffersBetweenThreadsThatLiveAtOnce) {
  const std::vector<int> slots = SlotsOfThreads(32);
  EXPECT_EQ(std::set<int>(slots.begin(), slots.end()).size(), 32);
  EXPECT_EQ(*std::min_element(slots.begin(), slots.end()) >= 0, true);
  EXPECT_LT(*std::max_element(slots.begin(), slots.end()), kThreadSlots);
}

TEST(ThreadSlot, IsSharedBeyondTheLimitAndOnlyThere) {
  const int others = 36;
  const std::vector<int> slots = SlotsOfThreads(kThreadSlots + others);
  std::set<int> own;
  int shared = 0;
  for (const int slot : slots) {
    if (slot == kThreadSlots) {
      ++shared;
    } else {
      EXPECT_TRUE(own.insert(slot).second) << "slot " << slot << " has two owners";
    }
  }
  EXPECT_GE(shared, others);
  EXPECT_EQ(shared + static_cast<int>(own.size()), kThreadSlots + others);
}

TEST(ThreadSlot, IsGivenOutAgainWhenItsThreadEnds) {
  for (int i = 0; i < 3 * kThreadSlots; ++i) {
    EXPECT_LT(SlotsOfThreads(1).front(), kThreadSlots) << "thread " << i;
  }
}

}  // namespace
}  // namespace mlpserve
