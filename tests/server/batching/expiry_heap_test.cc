#include "server/batching/expiry_heap.h"

#include <map>
#include <random>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

TimePoint At(int us) { return TimePoint(std::chrono::microseconds(us)); }

TEST(ExpiryHeapTest, TheEarliestIsOnTop) {
  ExpiryHeap heap;
  EXPECT_TRUE(heap.empty());
  heap.Push(0, At(30));
  heap.Push(1, At(10));
  heap.Push(2, At(20));
  EXPECT_EQ(heap.top(), 1);
  EXPECT_EQ(heap.top_time(), At(10));
}

TEST(ExpiryHeapTest, RemovingWhatIsNotThereDoesNothing) {
  ExpiryHeap heap;
  heap.Remove(7);
  heap.Push(3, At(1));
  heap.Remove(2);
  heap.Remove(100);
  EXPECT_EQ(heap.size(), 1u);
  EXPECT_FALSE(heap.Contains(2));
  EXPECT_TRUE(heap.Contains(3));
}

TEST(ExpiryHeapTest, AgreesWithASortedMapOverRandomPushesAndRemovals) {
  std::mt19937 random(1);
  ExpiryHeap heap;
  std::map<int, TimePoint> model;
  for (int step = 0; step < 100'000; ++step) {
    const int ticket = static_cast<int>(random() % 64);
    if (model.count(ticket) != 0) {
      heap.Remove(ticket);
      model.erase(ticket);
    } else {
      const TimePoint time = At(static_cast<int>(random() % 40));  // many alike
      heap.Push(ticket, time);
      model[ticket] = time;
    }
    ASSERT_EQ(heap.size(), model.size());
    if (model.empty()) continue;
    TimePoint earliest = TimePoint::max();
    for (const auto& [unused, time] : model) earliest = std::min(earliest, time);
    ASSERT_EQ(heap.top_time(), earliest);
    ASSERT_EQ(model.at(heap.top()), earliest);
  }
}

}  // namespace
}  // namespace mlpserve
