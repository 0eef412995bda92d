// Answers that nobody reads: cancelled after a time, those of the connection that holds most first.
// Over the wire tests/integration/attacks_test.py has it.
#include "server/transport/unread_answers.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using std::chrono::milliseconds;

template <typename Condition>
bool Eventually(Condition condition) {
  const TimePoint limit = Clock::now() + std::chrono::seconds(10);
  while (!condition() && Clock::now() < limit) std::this_thread::sleep_for(milliseconds(1));
  return condition();
}

struct FakeAnswer final : UnreadAnswer {
  void KeepUnread() override { kept = true; }
  void CancelUnread() override { cancelled = true; }
  std::atomic<bool> kept{false};
  std::atomic<bool> cancelled{false};
};

TEST(UnreadAnswers, OneThatIsReadInTimeIsLeftAlone) {
  UnreadAnswers unread({.timeout = milliseconds(50), .interval = milliseconds(1)});
  FakeAnswer answer;
  unread.Add(answer, "a", 1000);
  EXPECT_EQ(unread.counts().bytes, 1000);
  unread.Remove(answer);
  unread.Remove(answer);
  std::this_thread::sleep_for(milliseconds(80));
  EXPECT_FALSE(answer.cancelled);
  EXPECT_EQ(unread.counts().bytes, 0);
}

TEST(UnreadAnswers, OneThatIsNotIsCancelledOnceAfterTheTimeout) {
  UnreadAnswers unread({.timeout = milliseconds(30), .interval = milliseconds(1)});
  FakeAnswer answer;
  const TimePoint added = Clock::now();
  unread.Add(answer, "a", 1000);
  EXPECT_TRUE(Eventually([&] { return answer.cancelled.load(); }));
  EXPECT_GE(Clock::now() - added, milliseconds(30));
  EXPECT_TRUE(answer.kept);
  EXPECT_EQ(unread.counts().bytes, 0);
  EXPECT_EQ(unread.counts().cancelled, 1);
  unread.Remove(answer);
}

TEST(UnreadAnswers, WhoHoldsMostGivesUpTheOldestUntilThereIsRoom) {
  UnreadAnswers unread({.timeout = std::chrono::hours(1),
                        .patience = milliseconds(20),
                        .most_bytes = 250,
                        .interval = milliseconds(1)});
  FakeAnswer innocent, first, second, third;
  unread.Add(innocent, "slow", 100);
  unread.Add(first, "greedy", 100);
  unread.Add(second, "greedy", 100);
  unread.Add(third, "greedy", 100);
  EXPECT_TRUE(Eventually([&] { return second.cancelled.load(); }));
  EXPECT_TRUE(first.cancelled);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_FALSE(third.cancelled);
  EXPECT_FALSE(innocent.cancelled);
  EXPECT_EQ(unread.counts().bytes, 200);
  for (FakeAnswer* answer : {&innocent, &first, &second, &third}) unread.Remove(*answer);
}

}  // namespace
}  // namespace mlpserve
