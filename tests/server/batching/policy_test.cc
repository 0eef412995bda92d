#include "server/batching/policy.h"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
using Ticket = BatchPolicy::Ticket;
using testing::ElementsAre;
using testing::HasSubstr;

TimePoint At(int64_t us) { return TimePoint(std::chrono::seconds(1000) + microseconds(us)); }

// Does what the batcher does with the policy's actions, at once and on one thread; keeps the books.
class Driver {
 public:
  explicit Driver(const BatchPolicy::Options& options) : policy(options) {
    EXPECT_TRUE(BatchPolicy::Validate(options).ok());
  }

  // Rows are copied at once unless `hold_copies`.
  absl::StatusOr<Ticket> Submit(int64_t us, const BatchPolicy::Ask& ask) {
    BatchPolicy::Actions actions;
    auto ticket = policy.Submit(At(us), ask, actions);
    Take(us, actions);
    return ticket;
  }
  Ticket Admit(int64_t us, int64_t rows, int priority = 0) {
    const auto ticket = Submit(us, {.rows = rows, .priority = priority});
    EXPECT_TRUE(ticket.ok()) << ticket.status();
    return ticket.value_or(-1);
  }
  absl::Status Refusal(int64_t us, const BatchPolicy::Ask& ask) { return Submit(us, ask).status(); }

  void Cancel(int64_t us, Ticket ticket) {
    BatchPolicy::Actions actions;
    policy.Cancel(At(us), ticket, actions);
    Take(us, actions);
  }
  void Tick(int64_t us) {
    BatchPolicy::Actions actions;
    policy.Tick(At(us), actions);
    Take(us, actions);
  }
  void FinishCopies(int64_t us) {
    hold_copies = false;
    BatchPolicy::Actions actions;
    actions.copies.swap(held_copies_);
    Take(us, actions);
  }
  std::optional<BatchRun> Dispatch() { return policy.Dispatch(At(now)); }
  // The rows of the next batch; 0: there is none.
  int64_t Run() {
    const auto run = Dispatch();
    return run ? run->rows : 0;
  }
  void Read(int64_t us, int lane = 0) {
    BatchPolicy::Actions actions;
    policy.InputRead(At(us), lane, actions);
    Take(us, actions);
  }
  void Nearly(int64_t us, int lane) {
    policy.NearlyDone(At(us), lane);
    EXPECT_EQ(policy.CheckInvariants(At(us)), "");
  }
  // Ends the lane's batch; what is lent is returned at once unless `hold_outputs`.
  bool End(int64_t us, int lane = 0, const absl::Status& status = absl::OkStatus()) {
    BatchPolicy::Actions actions;
    const BatchPolicy::Ended ended = policy.BatchDone(At(us), lane, actions);
    policy.Delivered(At(us), ended.output, status, actions);
    if (status.ok() && !ended.copy_out) {
      lent.push_back(ended.output);
      if (!hold_outputs) ReturnOutputs();
    }
    Take(us, actions);
    return ended.copy_out;
  }
  void ReturnOutputs() {
    for (const int output : lent) policy.OutputReleased(output);
    lent.clear();
  }
  // Runs everything to its end.
  std::vector<int64_t> Finish(int64_t us) {
    std::vector<int64_t> rows;
    while (const auto run = Dispatch()) {
      rows.push_back(run->rows);
      End(us, run->lane);
    }
    return rows;
  }

  BatchPolicy policy;
  int64_t now = 0;  // that it was last told, in us
  Duration retry_after = Duration::zero();
  bool hold_copies = false;
  bool hold_outputs = false;
  std::vector<int> lent;
  std::vector<Ticket> done;                // in order
  std::map<Ticket, absl::Status> answers;  // the latest of each ticket
  std::map<Ticket, Eviction> evictions;

 private:
  void Take(int64_t us, BatchPolicy::Actions& actions) {
    now = us;
    retry_after = actions.retry_after;
    for (const auto& completion : actions.completions) {
      done.push_back(completion.ticket);
      answers[completion.ticket] = completion.status;
      if (completion.eviction) evictions[completion.ticket] = *completion.eviction;
    }
    actions.completions.clear();
    if (hold_copies) {
      held_copies_.insert(held_copies_.end(), actions.copies.begin(), actions.copies.end());
    } else if (!actions.copies.empty()) {
      BatchPolicy::Actions more;
      policy.CopyDone(At(us), {actions.copies.data(), actions.copies.size()}, more);
      Take(us, more);
    }
    ASSERT_EQ(policy.CheckInvariants(At(us)), "");
  }

  absl::InlinedVector<BatchPolicy::Copy, 4> held_copies_;
};

// One lane and three slots of 4 rows.
BatchPolicy::Options Small() {
  return {.slots = 3, .lanes = 1, .outputs = 4, .batching = {.max_rows = 4, .max_queued_rows = 16}};
}

TEST(BatchPolicyTest, AnIdleLaneTakesTheOpenSlotAtOnce) {
  Driver driver(Small());
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
}

TEST(BatchPolicyTest, ABusyLaneLetsTheSlotFill) {
  Driver driver(Small());
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  driver.Admit(1, 1);
  driver.Admit(2, 2);
  EXPECT_EQ(driver.Run(), 0);
  driver.End(3);
  EXPECT_EQ(driver.Run(), 3);
}

TEST(BatchPolicyTest, AFullSlotIsSealedAndTheNextIsOpened) {
  Driver driver(Small());
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  driver.Admit(1, 4);
  driver.Admit(1, 1);
  EXPECT_EQ(driver.policy.slots_in_use(), 3);
  driver.End(2);
  EXPECT_THAT(driver.Finish(3), ElementsAre(4, 1));
}

TEST(BatchPolicyTest, ALongRequestIsSplitAndCompletesOnceWithItsLastRow) {
  Driver driver(Small());
  const Ticket ticket = driver.Admit(0, 11);
  EXPECT_EQ(driver.policy.queued_rows(), 0);
  EXPECT_EQ(driver.Run(), 4);
  driver.End(1);
  EXPECT_EQ(driver.Run(), 4);
  driver.End(2);
  EXPECT_TRUE(driver.done.empty());
  EXPECT_EQ(driver.Run(), 3);
  driver.End(3);
  EXPECT_THAT(driver.done, ElementsAre(ticket));
  EXPECT_TRUE(driver.policy.Idle());
}

TEST(BatchPolicyTest, ALongRequestFillsTheRestOfTheOpenSlotFirst) {
  Driver driver(Small());
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  driver.Admit(1, 3);
  driver.Admit(2, 4);  // 1 row beside the three, 3 in the next slot
  driver.End(3);
  EXPECT_THAT(driver.Finish(4), ElementsAre(4, 3));
}

TEST(BatchPolicyTest, RowsBeyondTheSlotsWaitAndFollowWhenASlotIsFree) {
  Driver driver(Small());
  driver.Admit(0, 12);
  const Ticket waiting = driver.Admit(1, 5);
  EXPECT_EQ(driver.policy.queued_rows(), 5);
  EXPECT_EQ(driver.policy.queued_requests(), 1);
  EXPECT_EQ(driver.Run(), 4);
  driver.End(2);
  EXPECT_EQ(driver.policy.queued_rows(), 1);
  EXPECT_THAT(driver.Finish(3), ElementsAre(4, 4, 4, 1));
  EXPECT_EQ(driver.done.back(), waiting);
}

TEST(BatchPolicyTest, RowsThatAreStillCopiedHoldBackTheirSlotOnly) {
  BatchPolicy::Options options = Small();
  options.lanes = 2;
  Driver driver(options);
  driver.hold_copies = true;
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 0);
  driver.hold_copies = false;
  driver.Admit(1, 2);
  EXPECT_EQ(driver.Run(), 2);
  driver.FinishCopies(2);
  EXPECT_EQ(driver.Run(), 1);
}

TEST(BatchPolicyTest, RowsDoNotJoinASlotThatAnIdleLaneWaitsFor) {
  Driver driver(Small());
  driver.hold_copies = true;
  driver.Admit(0, 1);
  driver.Admit(1, 1);
  driver.FinishCopies(2);
  EXPECT_EQ(driver.Run(), 1);
}

TEST(BatchPolicyTest, TwoLanesRunTwoBatchesAtATime) {
  BatchPolicy::Options options = Small();
  options.lanes = 2;
  Driver driver(options);
  driver.Admit(0, 1);
  driver.Admit(0, 2);
  const auto first = driver.Dispatch();
  const auto second = driver.Dispatch();
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->lane, second->lane);
  EXPECT_NE(first->slot, second->slot);
  EXPECT_NE(first->output, second->output);
  driver.Admit(1, 1);
  EXPECT_EQ(driver.Run(), 0);
}

// --- devices of several lanes ---

BatchPolicy::Options TwoLanesOnEachDevice(int devices) {
  BatchPolicy::Options options = Small();
  options.lanes = 2 * devices;
  options.lanes_per_device = 2;
  options.slots = options.lanes + 1;
  options.outputs = options.lanes + 2;
  return options;
}

TEST(BatchPolicyTest, AnIdleLaneOfADeviceThatComputesLetsTheSlotFill) {
  Driver driver(TwoLanesOnEachDevice(1));
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  driver.Admit(1, 1);
  driver.Admit(2, 1);
  EXPECT_EQ(driver.Run(), 0);
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max());
  driver.End(3);
  EXPECT_EQ(driver.Run(), 2);
}

TEST(BatchPolicyTest, AFullSlotGoesToTheSecondLaneWhileTheFirstComputes) {
  Driver driver(TwoLanesOnEachDevice(1));
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  driver.Admit(1, 5);
  EXPECT_EQ(driver.Run(), 4);
  EXPECT_EQ(driver.Run(), 0) << "both lanes are taken";
  driver.End(2, 0);
  EXPECT_EQ(driver.Run(), 0) << "the second lane computes";
  driver.End(3, 1);
  EXPECT_EQ(driver.Run(), 1);
}

TEST(BatchPolicyTest, ADeviceWhoseBatchIsNearlyDoneTakesTheOpenSlot) {
  Driver driver(TwoLanesOnEachDevice(1));
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  driver.Admit(1, 1);
  driver.Nearly(2, 0);
  const auto second = driver.Dispatch();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->lane, 1);
  driver.Admit(3, 1);
  EXPECT_EQ(driver.Run(), 0);
  driver.End(4, 0);
  EXPECT_EQ(driver.Run(), 0) << "the second batch is not nearly done";
  driver.Nearly(5, 1);
  EXPECT_EQ(driver.Run(), 1);
}

TEST(BatchPolicyTest, ABatchThatIsNearlyDoneDoesNotMakeALaneIdle) {
  Driver driver(Small());
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  driver.Nearly(1, 0);
  driver.Admit(2, 1);
  EXPECT_EQ(driver.Run(), 0);
  driver.Admit(3, 1);
  driver.End(4);
  EXPECT_EQ(driver.Run(), 2) << "the slot filled until there was a lane";
}

TEST(BatchPolicyTest, TheDeviceWithTheLeastToDoTakesTheNextBatch) {
  Driver driver(TwoLanesOnEachDevice(2));
  std::vector<int> devices;
  for (int i = 0; i < 4; ++i) {
    driver.Admit(i, 4);
    const auto run = driver.Dispatch();
    ASSERT_TRUE(run);
    devices.push_back(run->lane / 2);
  }
  EXPECT_THAT(devices, ElementsAre(0, 1, 0, 1));
}

TEST(BatchPolicyTest, WithADelayADeviceThatIsNearlyDoneWaitsForMoreRows) {
  BatchPolicy::Options options = TwoLanesOnEachDevice(1);
  options.batching.max_queue_delay = microseconds(100);
  Driver driver(options);
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  driver.Admit(10, 1);
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max()) << "the device wants nothing yet";
  driver.Nearly(20, 0);
  EXPECT_EQ(driver.policy.NextWake(), At(110));
  driver.Tick(110);
  EXPECT_EQ(driver.Run(), 1);
}

// --- slots that are free before their batch ends ---

TEST(BatchPolicyTest, ASlotWhoseInputWasReadTakesRowsThatWaitWhileItsBatchRuns) {
  Driver driver(Small());
  driver.Admit(0, 12);
  driver.Admit(1, 5);
  EXPECT_EQ(driver.Run(), 4);
  driver.Read(2);
  EXPECT_EQ(driver.policy.queued_rows(), 1);
  EXPECT_EQ(driver.policy.slots_in_use(), 3);
  EXPECT_EQ(driver.Run(), 0);  // the lane is busy
  driver.End(3);
  EXPECT_EQ(driver.policy.queued_rows(), 1);  // the batch had no slot to give back
  EXPECT_THAT(driver.Finish(4), ElementsAre(4, 4, 4, 1));
}

TEST(BatchPolicyTest, OneSlotServesTwoLanesIfItsInputIsRead) {
  BatchPolicy::Options options = Small();
  options.slots = 1;
  options.lanes = 2;
  Driver driver(options);
  driver.Admit(0, 4);
  driver.Admit(0, 4);
  const auto first = driver.Dispatch();
  ASSERT_TRUE(first);
  EXPECT_FALSE(driver.Dispatch());
  driver.Read(1, first->lane);
  const auto second = driver.Dispatch();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->slot, first->slot);
  EXPECT_NE(second->output, first->output);
  driver.End(2, second->lane);
  driver.End(3, first->lane);
  EXPECT_TRUE(driver.policy.Idle());
}

TEST(BatchPolicyTest, RowsThatExpireWhenASlotBecomesFreeAreNotCopied) {
  Driver driver(Small());
  driver.Admit(0, 12);
  ASSERT_TRUE(driver.Submit(1, {.rows = 2, .deadline = At(50)}).ok());
  EXPECT_EQ(driver.Run(), 4);
  driver.Read(50);
  EXPECT_EQ(driver.policy.queued_rows(), 0);
  EXPECT_EQ(driver.policy.slots_in_use(), 2);
}

// --- slots that grow ---

TEST(BatchPolicyTest, BatchesAreAsLargeAsSlotsAreAtTheTime) {
  BatchPolicy::Options options = Small();
  options.slot_rows = 2;
  Driver driver(options);
  driver.Admit(0, 7);
  EXPECT_EQ(driver.policy.queued_rows(), 1);
  EXPECT_EQ(driver.Run(), 2);
  driver.policy.SetSlotRows(3);
  driver.Admit(1, 5);
  driver.End(2);
  EXPECT_THAT(driver.Finish(3), ElementsAre(2, 2, 3, 3));
  driver.policy.SetSlotRows(1);  // they never shrink
  EXPECT_EQ(driver.policy.slot_rows(), 3);
  driver.policy.SetSlotRows(5);
  EXPECT_EQ(driver.policy.slot_rows(), 4);
}

// --- queue delay ---

TEST(BatchPolicyTest, WithAQueueDelayAnIdleLaneWaitsForMoreRowsUntilItIsOver) {
  BatchPolicy::Options options = Small();
  options.batching.max_queue_delay = microseconds(100);
  Driver driver(options);
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 0);
  EXPECT_EQ(driver.policy.NextWake(), At(100));
  driver.Admit(60, 1);
  EXPECT_EQ(driver.policy.NextWake(), At(100));
  driver.Tick(99);
  EXPECT_EQ(driver.Run(), 0);
  driver.Tick(100);
  EXPECT_EQ(driver.Run(), 2);
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max());
}

TEST(BatchPolicyTest, AFullSlotDoesNotWaitForTheQueueDelay) {
  BatchPolicy::Options options = Small();
  options.batching.max_queue_delay = microseconds(100);
  Driver driver(options);
  driver.Admit(0, 3);
  driver.Admit(1, 1);
  EXPECT_EQ(driver.Run(), 4);
}

TEST(BatchPolicyTest, RowsThatGrewOldWhileTheLaneWasBusyDoNotWaitAgain) {
  BatchPolicy::Options options = Small();
  options.batching.max_queue_delay = microseconds(100);
  Driver driver(options);
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  driver.Admit(10, 1);
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max());  // the lane is busy
  driver.End(120);
  EXPECT_EQ(driver.Run(), 1);
}

TEST(BatchPolicyTest, ALaneThatBecomesIdleEarlyWaitsForTheRestOfTheDelay) {
  BatchPolicy::Options options = Small();
  options.batching.max_queue_delay = microseconds(100);
  Driver driver(options);
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  driver.Admit(10, 1);
  driver.End(50);
  EXPECT_EQ(driver.Run(), 0);
  EXPECT_EQ(driver.policy.NextWake(), At(110));
}

// --- limits ---

TEST(BatchPolicyTest, AFullQueueRefusesAndTakesAgainWhenItHasRoom) {
  Driver driver(Small());
  driver.Admit(0, 12);
  driver.Admit(1, 16);
  const absl::Status refused = driver.Refusal(2, {.rows = 1});
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("16 of 16 rows wait, 1 more"));
  EXPECT_EQ(driver.Run(), 4);
  driver.End(3);
  driver.Admit(4, 4);
  EXPECT_EQ(driver.Refusal(5, {.rows = 1}).code(), absl::StatusCode::kResourceExhausted);
}

TEST(BatchPolicyTest, OnlyTheRowsThatFindNoSlotCountAgainstTheQueue) {
  Driver driver(Small());
  driver.Admit(0, 11);
  driver.Admit(1, 16);  // 1 of them fits into the last slot
  EXPECT_EQ(driver.policy.queued_rows(), 15);
  EXPECT_EQ(driver.Refusal(2, {.rows = 2}).code(), absl::StatusCode::kResourceExhausted);
  driver.Admit(2, 1);
}

TEST(BatchPolicyTest, ARefusedRequestLeavesNoTrace) {
  Driver driver(Small());
  driver.Admit(0, 12);
  driver.Admit(1, 10);
  EXPECT_FALSE(driver.Refusal(2, {.rows = 7}).ok());
  EXPECT_EQ(driver.policy.queued_rows(), 10);
  EXPECT_EQ(driver.policy.queued_requests(), 1);
}

TEST(BatchPolicyTest, ARequestThatCouldNeverFitIsInvalid) {
  Driver driver(Small());
  const absl::Status status = driver.Refusal(0, {.rows = 17});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 16 rows"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("got 17"));
}

TEST(BatchPolicyTest, NoRowsAreInvalid) {
  Driver driver(Small());
  for (const int64_t rows : {int64_t{0}, int64_t{-1}, INT64_MIN}) {
    EXPECT_EQ(driver.Refusal(0, {.rows = rows}).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(driver.Refusal(0, {.rows = INT64_MAX}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(driver.policy.Idle());
}

// --- priorities ---

TEST(BatchPolicyTest, AHigherLevelIsServedFirstAndOneLevelInOrder) {
  BatchPolicy::Options options = Small();
  options.batching.priority_levels = 3;
  Driver driver(options);
  driver.Admit(0, 12);
  const Ticket low = driver.Admit(1, 4, 3);
  const Ticket high = driver.Admit(2, 4, 1);
  const Ticket middle = driver.Admit(3, 4, 2);
  const Ticket high_too = driver.Admit(4, 4, 1);
  driver.Finish(5);
  driver.done.erase(driver.done.begin());
  EXPECT_THAT(driver.done, ElementsAre(high, high_too, middle, low));
}

TEST(BatchPolicyTest, WithoutLevelsAnyPriorityIsAlike) {
  Driver driver(Small());
  driver.Admit(0, 12);
  const Ticket first = driver.Admit(1, 4, 9);
  const Ticket second = driver.Admit(2, 4, 1);
  driver.Finish(3);
  driver.done.erase(driver.done.begin());
  EXPECT_THAT(driver.done, ElementsAre(first, second));
}

TEST(BatchPolicyTest, ARequestWithoutPriorityGetsTheDefaultLevel) {
  for (const int default_priority : {0, 1}) {
    BatchPolicy::Options options = Small();
    options.batching.priority_levels = 2;
    options.batching.default_priority = default_priority;
    Driver driver(options);
    driver.Admit(0, 12);
    const Ticket middle = driver.Admit(1, 4, default_priority == 1 ? 2 : 1);
    const Ticket without = driver.Admit(2, 4, 0);
    driver.Finish(3);
    driver.done.erase(driver.done.begin());
    if (default_priority == 1) {
      EXPECT_THAT(driver.done, ElementsAre(without, middle));
    } else {
      EXPECT_THAT(driver.done, ElementsAre(middle, without));
    }
  }
}

TEST(BatchPolicyTest, APriorityOutsideOfTheLevelsIsInvalid) {
  BatchPolicy::Options options = Small();
  options.batching.priority_levels = 3;
  Driver driver(options);
  const absl::Status status = driver.Refusal(0, {.rows = 1, .priority = 4});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("0 to 3, got 4"));
  EXPECT_EQ(driver.Refusal(0, {.rows = 1, .priority = -1}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(BatchPolicyTest, ALowLevelDoesNotStarveUnderASteadyStreamOfHigherOnes) {
  BatchPolicy::Options options = Small();
  options.batching.priority_levels = 2;
  Driver driver(options);
  driver.Admit(0, 12, 1);
  const Ticket low = driver.Admit(1, 4, 2);
  driver.Admit(1, 4, 1);
  int batches = 0;
  while (driver.answers.count(low) == 0 && batches < 100) {
    ASSERT_EQ(driver.Run(), 4);
    driver.End(2 + batches);
    driver.Admit(2 + batches, 4, 1);  // there is always one at the high level
    ++batches;
  }
  EXPECT_EQ(batches, 3 + 8);  // the slots that were full, then every eighth
}

// --- timeouts, deadlines, cancellation ---

TEST(BatchPolicyTest, ARequestThatWaitsPastItsDeadlineIsAnsweredAndNeverRuns) {
  Driver driver(Small());
  driver.Admit(0, 12);
  const auto ticket = driver.Submit(1, {.rows = 4, .deadline = At(50)});
  ASSERT_TRUE(ticket.ok());
  EXPECT_EQ(driver.policy.NextWake(), At(50));
  driver.Tick(49);
  EXPECT_TRUE(driver.done.empty());
  driver.Tick(50);
  EXPECT_EQ(driver.answers[*ticket].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(driver.evictions[*ticket], Eviction::kDeadline);
  EXPECT_EQ(driver.policy.queued_rows(), 0);
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max());
  EXPECT_THAT(driver.Finish(60), ElementsAre(4, 4, 4));
}

TEST(BatchPolicyTest, ADeadlineThatPassedBeforeSubmitIsRefused) {
  Driver driver(Small());
  EXPECT_EQ(driver.Refusal(10, {.rows = 1, .deadline = At(10)}).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(driver.policy.Idle());
}

TEST(BatchPolicyTest, TheBlocksQueueTimeoutHoldsUnlessTheRequestNamesOne) {
  BatchPolicy::Options options = Small();
  options.batching.queue_timeout = microseconds(100);
  Driver driver(options);
  ASSERT_TRUE(driver.Submit(0, {.rows = 12, .queue_timeout = microseconds(2000)}).ok());
  const Ticket usual = driver.Admit(0, 1);
  const auto shorter = driver.Submit(0, {.rows = 1, .queue_timeout = microseconds(10)});
  const auto longer = driver.Submit(0, {.rows = 1, .queue_timeout = microseconds(1000)});
  driver.Tick(10);
  EXPECT_THAT(driver.done, ElementsAre(*shorter));
  driver.Tick(100);
  EXPECT_THAT(driver.done, ElementsAre(*shorter, usual));
  driver.Tick(999);
  EXPECT_EQ(driver.done.size(), 2u);
  driver.Tick(1000);
  EXPECT_THAT(driver.done, ElementsAre(*shorter, usual, *longer));
  EXPECT_EQ(driver.evictions[*longer], Eviction::kTimeout);
  EXPECT_EQ(driver.answers[*longer].code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(BatchPolicyTest, AHugeTimeoutDoesNotOverflow) {
  Driver driver(Small());
  driver.Admit(0, 12);
  ASSERT_TRUE(driver.Submit(0, {.rows = 1, .queue_timeout = Duration::max()}).ok());
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max());
  driver.Tick(1'000'000);
  EXPECT_TRUE(driver.done.empty());
}

TEST(BatchPolicyTest, TheQueueTimeoutReachesIntoSlotsUntilTheRowsRun) {
  BatchPolicy::Options options = Small();
  options.batching.queue_timeout = microseconds(100);
  Driver driver(options);
  const Ticket runs = driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  const Ticket waits = driver.Admit(0, 4);
  EXPECT_EQ(driver.policy.NextWake(), At(100));
  driver.Tick(100);
  EXPECT_THAT(driver.done, ElementsAre(waits));
  EXPECT_EQ(driver.evictions[waits], Eviction::kTimeout);
  EXPECT_EQ(driver.policy.slots_in_use(), 1);  // nobody waits in the other any more
  driver.End(1000);
  EXPECT_TRUE(driver.answers[runs].ok());
  EXPECT_EQ(driver.Run(), 0);
}

TEST(BatchPolicyTest, TheQueueTimeoutOfASplitRequestHoldsUntilItBeginsToRun) {
  BatchPolicy::Options options = Small();
  options.batching.queue_timeout = microseconds(100);
  Driver driver(options);
  const Ticket ticket = driver.Admit(0, 16);
  EXPECT_EQ(driver.Run(), 4);
  EXPECT_EQ(driver.policy.pending_requests(), 0);
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max());
  driver.End(101);
  driver.Finish(102);
  EXPECT_TRUE(driver.answers[ticket].ok());
}

TEST(BatchPolicyTest, AFullQueueLetsGoOfWhatHasExpiredBeforeItRefuses) {
  Driver driver(Small());
  driver.Admit(0, 12);
  ASSERT_TRUE(driver.Submit(0, {.rows = 16, .deadline = At(50)}).ok());
  EXPECT_FALSE(driver.Refusal(49, {.rows = 16}).ok());
  driver.Admit(50, 16);
}

TEST(BatchPolicyTest, WhatHasExpiredIsNotGivenAFreeSlot) {
  Driver driver(Small());
  driver.Admit(0, 12);
  const auto expired = driver.Submit(0, {.rows = 4, .deadline = At(50)});
  const Ticket next = driver.Admit(0, 2);
  EXPECT_EQ(driver.Run(), 4);
  driver.End(60);
  EXPECT_EQ(driver.answers[*expired].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(driver.Finish(61), ElementsAre(4, 4, 2));
  EXPECT_EQ(driver.done.back(), next);
}

TEST(BatchPolicyTest, ACancelledRequestLeavesTheQueueAndNeverRuns) {
  Driver driver(Small());
  driver.Admit(0, 12);
  driver.Admit(1, 2);
  const Ticket cancelled = driver.Admit(1, 3);
  driver.Admit(1, 1);
  driver.Cancel(2, cancelled);
  EXPECT_THAT(driver.done, ElementsAre(cancelled));
  EXPECT_EQ(driver.answers[cancelled].code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(driver.evictions[cancelled], Eviction::kCancelled);
  EXPECT_EQ(driver.policy.queued_rows(), 3);
  EXPECT_THAT(driver.Finish(3), ElementsAre(4, 4, 4, 3));
}

TEST(BatchPolicyTest, ASlotInWhichNobodyWaitsAnyMoreIsNotRun) {
  Driver driver(Small());
  const Ticket ticket = driver.Admit(0, 2);
  driver.Cancel(1, ticket);
  EXPECT_EQ(driver.answers[ticket].code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(driver.Run(), 0);
  EXPECT_TRUE(driver.policy.Idle());
}

TEST(BatchPolicyTest, AnOpenSlotInWhichNobodyWaitsAnyMoreIsFree) {
  Driver driver(Small());
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  const Ticket ticket = driver.Admit(1, 2);
  driver.Cancel(2, ticket);
  EXPECT_EQ(driver.policy.slots_in_use(), 1);
  driver.Admit(3, 4);
  driver.End(4);
  EXPECT_THAT(driver.Finish(5), ElementsAre(4));
}

TEST(BatchPolicyTest, ASlotThatIsFreedTakesWhatWaits) {
  Driver driver(Small());
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  const Ticket gone = driver.Admit(1, 4);
  driver.Admit(1, 4);
  driver.Admit(2, 3);
  EXPECT_EQ(driver.policy.queued_rows(), 3);
  driver.Cancel(3, gone);
  EXPECT_EQ(driver.policy.queued_rows(), 0);
  driver.End(4);
  EXPECT_THAT(driver.Finish(5), ElementsAre(4, 3));
}

TEST(BatchPolicyTest, OneWhoStillWaitsKeepsASlotAndTheOthersAreNoSuccess) {
  Driver driver(Small());
  driver.Admit(0, 1);
  EXPECT_EQ(driver.Run(), 1);
  const Ticket gone = driver.Admit(1, 2);
  const Ticket stays = driver.Admit(1, 2);
  driver.Cancel(2, gone);
  driver.End(3);
  EXPECT_THAT(driver.Finish(4), ElementsAre(4));
  EXPECT_EQ(driver.answers[gone].code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(driver.answers[stays].ok());
  EXPECT_EQ(driver.done.size(), 3u);
}

TEST(BatchPolicyTest, ARequestWhoseBatchRunsIsAnsweredWhenItsTimeIsUp) {
  Driver driver(Small());
  const auto late = driver.Submit(0, {.rows = 2, .deadline = At(50)});
  EXPECT_EQ(driver.Run(), 2);
  EXPECT_EQ(driver.policy.NextWake(), At(50));
  driver.Tick(50);
  EXPECT_EQ(driver.answers[*late].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(driver.evictions[*late], Eviction::kDeadline);
  EXPECT_FALSE(driver.policy.Idle());
  driver.End(60);
  EXPECT_EQ(driver.done.size(), 1u);
  EXPECT_TRUE(driver.policy.Idle());
}

TEST(BatchPolicyTest, ARequestWhoseBatchRunsIsAnsweredWhenItsClientLeaves) {
  Driver driver(Small());
  const Ticket ticket = driver.Admit(0, 2);
  EXPECT_EQ(driver.Run(), 2);
  driver.Cancel(1, ticket);
  EXPECT_EQ(driver.answers[ticket].code(), absl::StatusCode::kCancelled);
  driver.End(60);
  EXPECT_EQ(driver.done.size(), 1u);
}

TEST(BatchPolicyTest, WhatIsPendingHasNoRowThatHasBegunToRun) {
  Driver driver(Small());
  driver.Admit(0, 6);
  driver.Admit(0, 2);
  const Ticket last = driver.Admit(0, 16);
  EXPECT_EQ(driver.policy.pending_requests(), 3);
  EXPECT_EQ(driver.Run(), 4);
  EXPECT_EQ(driver.policy.pending_requests(), 2);
  driver.Cancel(1, last);
  EXPECT_EQ(driver.policy.pending_requests(), 1);
  driver.End(2);
  driver.Finish(3);
  EXPECT_EQ(driver.policy.pending_requests(), 0);
}

// --- what batches are expected to take ---

// As Small, but 4 rows take 100 us, and so do fewer.
BatchPolicy::Options Measured() {
  BatchPolicy::Options options = Small();
  options.batch_times = {{4, microseconds(100)}};
  return options;
}

TEST(BatchPolicyTest, ARequestThatIsExpectedToMissItsDeadlineIsRefusedAtOnce) {
  Driver driver(Measured());
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  driver.Admit(0, 8);
  // 300 us are before it, as much is kept in reserve, and 100 us are its own.
  const absl::Status refused = driver.Refusal(0, {.rows = 4, .deadline = At(699)});
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("300 us are before the request, and 100 us its own, but the deadline is in "
                        "699 us"));
  EXPECT_EQ(driver.retry_after, std::chrono::milliseconds(1));
  EXPECT_TRUE(driver.Submit(0, {.rows = 4, .deadline = At(700)}).ok());
}

TEST(BatchPolicyTest, RowsOfALowerLevelAreNotBeforeARequest) {
  BatchPolicy::Options options = Measured();
  options.batching.priority_levels = 2;
  Driver driver(options);
  driver.Admit(0, 12, 2);
  driver.Admit(0, 8, 2);
  EXPECT_FALSE(driver.Refusal(0, {.rows = 4, .priority = 2, .deadline = At(700)}).ok());
  EXPECT_TRUE(driver.Submit(0, {.rows = 4, .priority = 1, .deadline = At(700)}).ok());
}

TEST(BatchPolicyTest, ARequestThatIsExpectedToMissItsQueueTimeoutIsRefusedAtOnce) {
  Driver driver(Measured());
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  EXPECT_THAT(
      std::string(driver.Refusal(0, {.rows = 4, .queue_timeout = microseconds(199)}).message()),
      HasSubstr("the queue timeout passes in 199 us"));
  EXPECT_TRUE(driver.Submit(0, {.rows = 4, .queue_timeout = microseconds(200)}).ok());
}

TEST(BatchPolicyTest, TheQueueIsBoundedInTime) {
  BatchPolicy::Options options = Measured();
  options.batching.max_queued_time = microseconds(250);
  Driver driver(options);
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  driver.Admit(0, 4);
  driver.Admit(0, 4);  // 200 us are before it
  EXPECT_THAT(std::string(driver.Refusal(0, {.rows = 1}).message()),
              HasSubstr("max_queued_us allows to wait 250 us"));
  driver.End(60);
  driver.Admit(60, 1);
}

TEST(BatchPolicyTest, NothingIsRefusedForItsTimeWhileADeviceIsFree) {
  BatchPolicy::Options options = Measured();
  options.batching.max_queued_time = microseconds(1);
  Driver driver(options);
  const auto hasty = driver.Submit(0, {.rows = 4, .deadline = At(10)});
  ASSERT_TRUE(hasty.ok());
  EXPECT_EQ(driver.Run(), 4);
  driver.End(9);  // faster than expected
  EXPECT_TRUE(driver.answers[*hasty].ok());
}

TEST(BatchPolicyTest, WhatCanNoLongerMeetItsDeadlineIsNotBegun) {
  Driver driver(Measured());
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  const auto late = driver.Submit(0, {.rows = 4, .deadline = At(400)});
  EXPECT_EQ(driver.policy.NextWake(), At(300));
  driver.Tick(300);  // the batch before it takes long
  EXPECT_EQ(driver.answers[*late].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(driver.answers[*late].message()), HasSubstr("can no longer be met"));
  EXPECT_EQ(driver.evictions[*late], Eviction::kDeadline);
  driver.End(301);
  EXPECT_EQ(driver.Run(), 0);
}

TEST(BatchPolicyTest, WhatHasBegunMayUseItsWholeDeadline) {
  Driver driver(Measured());
  driver.Admit(0, 4);
  EXPECT_EQ(driver.Run(), 4);
  const auto ticket = driver.Submit(0, {.rows = 4, .deadline = At(400)});
  driver.End(299);
  EXPECT_EQ(driver.Run(), 4);
  EXPECT_EQ(driver.policy.NextWake(), At(400));
  driver.End(399);
  EXPECT_TRUE(driver.answers[*ticket].ok());
}

TEST(BatchPolicyTest, ASlotTakesNoMoreRowsThanRunWithinTheLongestBatch) {
  const auto batch_rows = [](std::chrono::microseconds longest, std::vector<BatchTime> times) {
    return BatchPolicy({.batch_times = std::move(times), .batching = {.max_batch_time = longest}})
        .batch_rows();
  };
  const std::vector<BatchTime> times = {{16, microseconds(100)}, {256, microseconds(1600)}};
  EXPECT_EQ(batch_rows(microseconds(800), times), 128);
  EXPECT_EQ(batch_rows(microseconds(850), times), 128);  // whole tiles
  EXPECT_EQ(batch_rows(microseconds(0), times), 800);    // 5 ms
  EXPECT_EQ(batch_rows(microseconds(1), times), 16);     // that take as long as one
  EXPECT_EQ(batch_rows(microseconds(800), {}), 4096);
  // Fewer rows would be slower: they take longer than 5 ms.
  EXPECT_EQ(batch_rows(microseconds(0), {{1, microseconds(7000)}, {64, microseconds(7000)}}), 80);
}

TEST(BatchPolicyTest, ACancelledRequestLeavesAllOfItsSlots) {
  Driver driver(Small());
  const Ticket ticket = driver.Admit(0, 14);
  driver.Cancel(1, ticket);
  EXPECT_THAT(driver.done, ElementsAre(ticket));
  EXPECT_EQ(driver.policy.queued_rows(), 0);
  EXPECT_EQ(driver.policy.slots_in_use(), 0);
  EXPECT_EQ(driver.Run(), 0);
  EXPECT_TRUE(driver.policy.Idle());
}

TEST(BatchPolicyTest, ACancelledRequestIsNotAnsweredWhileItsRowsAreCopied) {
  Driver driver(Small());
  driver.hold_copies = true;
  const Ticket ticket = driver.Admit(0, 14);
  driver.Cancel(1, ticket);
  EXPECT_TRUE(driver.done.empty());
  EXPECT_FALSE(driver.policy.Alive(ticket));
  driver.FinishCopies(2);
  EXPECT_THAT(driver.done, ElementsAre(ticket));
  EXPECT_EQ(driver.answers[ticket].code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(driver.policy.Idle());
}

TEST(BatchPolicyTest, CancellingTwiceAnswersOnce) {
  Driver driver(Small());
  const Ticket ticket = driver.Admit(0, 14);
  driver.Cancel(1, ticket);
  driver.Cancel(2, ticket);
  EXPECT_EQ(driver.done.size(), 1u);
}

// --- failures ---

TEST(BatchPolicyTest, AFailedBatchFailsItsRequestsAndNoOthers) {
  Driver driver(Small());
  const Ticket first = driver.Admit(0, 2);
  EXPECT_EQ(driver.Run(), 2);
  const Ticket second = driver.Admit(1, 2);
  driver.End(2, 0, absl::UnavailableError("lost"));
  EXPECT_EQ(driver.answers[first], absl::UnavailableError("lost"));
  EXPECT_THAT(driver.Finish(3), ElementsAre(2));
  EXPECT_TRUE(driver.answers[second].ok());
  EXPECT_TRUE(driver.lent.empty());
}

TEST(BatchPolicyTest, ASplitRequestFailsOnceAndItsWaitingRowsLeave) {
  Driver driver(Small());
  const Ticket ticket = driver.Admit(0, 16);
  EXPECT_EQ(driver.policy.queued_rows(), 4);
  EXPECT_EQ(driver.Run(), 4);
  driver.End(1, 0, absl::InternalError("no"));
  // The slot that became free was given to the waiting rows before the failure was told.
  EXPECT_EQ(driver.answers[ticket], absl::InternalError("no"));
  driver.Finish(2);
  EXPECT_THAT(driver.done, ElementsAre(ticket));
  EXPECT_TRUE(driver.policy.Idle());
}

// --- batch statistics ---

BatchPolicy::Options Statistics() {
  BatchPolicy::Options options = Small();
  options.batching.one_request_per_batch = true;
  options.batching.max_queue_delay = microseconds(100);
  return options;
}

TEST(BatchPolicyTest, EachRequestOfABatchStatisticsBlockHasABatchOfItsOwn) {
  Driver driver(Statistics());
  driver.Admit(0, 2);
  driver.Admit(0, 2);
  driver.Admit(0, 4);
  driver.Admit(0, 3);
  EXPECT_EQ(driver.policy.queued_rows(), 3);
  EXPECT_EQ(driver.policy.NextWake(), TimePoint::max());  // it waits for no other rows
  EXPECT_THAT(driver.Finish(1), ElementsAre(2, 2, 4, 3));
}

TEST(BatchPolicyTest, ABatchStatisticsRequestHoldsTwoToMaxRowsRows) {
  Driver driver(Statistics());
  for (const int64_t rows : {1, 5, 16}) {
    const absl::Status status = driver.Refusal(0, {.rows = rows});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected 2 to 4 rows"));
  }
  driver.Admit(0, 2);
  driver.Admit(0, 4);
}

TEST(BatchPolicyTest, ABatchStatisticsRequestThatFindsNoSlotCountsInFull) {
  Driver driver(Statistics());
  for (int i = 0; i < 3; ++i) driver.Admit(0, 2);
  for (int i = 0; i < 4; ++i) driver.Admit(0, 4);
  EXPECT_EQ(driver.policy.queued_rows(), 16);
  EXPECT_EQ(driver.Refusal(0, {.rows = 2}).code(), absl::StatusCode::kResourceExhausted);
}

// --- outputs ---

TEST(BatchPolicyTest, WhenTheOutputsRunLowResultsAreCopiedOutAndTheLaneGoesOn) {
  Driver driver(Small());  // 4 outputs, 1 lane: 3 can be lent
  driver.hold_outputs = true;
  for (int i = 0; i < 8; ++i) {
    driver.Admit(i, 1);
    ASSERT_EQ(driver.Run(), 1);
    EXPECT_EQ(driver.End(i), i >= 3) << i;
  }
  EXPECT_EQ(driver.policy.lent_outputs(), 3);
  driver.ReturnOutputs();
  driver.Admit(9, 1);
  ASSERT_EQ(driver.Run(), 1);
  EXPECT_FALSE(driver.End(9));
}

TEST(BatchPolicyTest, WithAnOutputPerLaneEverythingIsCopiedOut) {
  BatchPolicy::Options options = Small();
  options.outputs = 1;
  Driver driver(options);
  for (int i = 0; i < 3; ++i) {
    driver.Admit(i, 1);
    ASSERT_EQ(driver.Run(), 1);
    EXPECT_TRUE(driver.End(i));
  }
}

// --- options ---

TEST(BatchPolicyTest, OptionsOutOfRangeAreNamed) {
  const auto error = [](auto change) {
    BatchPolicy::Options options = Small();
    change(options);
    const absl::Status status = BatchPolicy::Validate(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error([](auto& o) { o.slots = 0; }), HasSubstr("slots must be 1 to 64, got 0"));
  EXPECT_THAT(error([](auto& o) { o.lanes = 65; }), HasSubstr("lanes"));
  EXPECT_THAT(error([](auto& o) { o.lanes_per_device = 2; }),
              HasSubstr("lanes_per_device must be 1 to 1, got 2"));
  EXPECT_THAT(error([](auto& o) {
                o.lanes = o.outputs = 3;
                o.lanes_per_device = 2;
              }),
              HasSubstr("lanes must be a multiple of 2 (lanes_per_device), got 3"));
  EXPECT_THAT(error([](auto& o) { o.batching.max_batch_time = microseconds(-1); }),
              HasSubstr("max_batch_time"));
  EXPECT_THAT(error([](auto& o) { o.batching.max_queued_time = microseconds(0); }),
              HasSubstr("max_queued_time"));
  EXPECT_THAT(error([](auto& o) { o.outputs = 0; }), HasSubstr("outputs must be 1 to 64"));
  EXPECT_THAT(error([](auto& o) { o.batching.max_rows = 0; }), HasSubstr("max_rows"));
  EXPECT_THAT(error([](auto& o) { o.batching.max_queued_rows = 0; }), HasSubstr("max_queued_rows"));
  EXPECT_THAT(error([](auto& o) { o.batching.max_queue_delay = microseconds(-1); }),
              HasSubstr("delay"));
  EXPECT_THAT(error([](auto& o) { o.batching.queue_timeout = microseconds(-1); }),
              HasSubstr("timeout"));
  EXPECT_THAT(error([](auto& o) { o.batching.priority_levels = -1; }),
              HasSubstr("priority_levels"));
  EXPECT_THAT(error([](auto& o) { o.batching.default_priority = 1; }),
              HasSubstr("default_priority"));
  EXPECT_THAT(error([](auto& o) {
                o.batching.one_request_per_batch = true;
                o.batching.max_rows = 1;
              }),
              HasSubstr("max_rows must be 2"));
}

TEST(BatchPolicyTest, SixtyFourOfEverythingWork) {
  Driver driver({.slots = 64,
                 .lanes = 64,
                 .outputs = 64,
                 .batching = {.max_rows = 1, .max_queued_rows = 64}});
  driver.Admit(0, 64);
  for (int i = 0; i < 64; ++i) ASSERT_EQ(driver.Run(), 1);
  for (int i = 0; i < 64; ++i) driver.End(1, i);
  EXPECT_EQ(driver.done.size(), 1u);
  EXPECT_TRUE(driver.policy.Idle());
}

}  // namespace
}  // namespace mlpserve
