#include "server/batching/batcher.h"

#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/batching/row_copy.h"
#include "tests/server/batching/test_request.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// --- whose rows, on which thread ---

TEST(BatcherTest, OnAnIdleInlineBackendTheSubmittingThreadComputesAndAnswersBeforeSubmitReturns) {
  Served served(Inline(), SmallBatches());
  TestRequest request(1);
  served.batcher->Submit(request);
  ASSERT_TRUE(request.done());
  EXPECT_EQ(request.thread, std::this_thread::get_id());
  EXPECT_TRUE(request.own_rows) << request.status;
}

TEST(BatcherTest, EveryRequestGetsItsOwnRowsBackAlsoWhenItIsSplit) {
  for (const auto& fake : {Inline(), Inline(2), Threads(), Threads(2)}) {
    for (int64_t rows = 1; rows <= 16; ++rows) {
      Served served(fake, SmallBatches());
      TestRequest request(rows, static_cast<int>(rows));
      served.batcher->Submit(request);
      ASSERT_TRUE(request.WaitUntilDone());
      EXPECT_TRUE(request.own_rows) << request.status << ", " << rows << " rows";
      EXPECT_EQ(request.pieces, (rows + 3) / 4);
    }
  }
}

TEST(BatcherTest, RowsOfSeveralRequestsRunInOneBatchAndGoBackToTheirOwners) {
  Served served(Held(), SmallBatches());
  TestRequest first(1, 1), second(2, 2), third(1, 3), fourth(1, 4);
  for (TestRequest* request : {&first, &second, &third, &fourth}) served.batcher->Submit(*request);
  EXPECT_EQ(served.backend.held_run(0).rows, 1);
  served.backend.Release();
  EXPECT_TRUE(first.own_rows);
  EXPECT_EQ(served.backend.held_run(0).rows, 4);
  served.backend.Release();
  EXPECT_TRUE(second.own_rows);
  EXPECT_TRUE(third.own_rows);
  EXPECT_TRUE(fourth.own_rows);
}

TEST(BatcherTest, ASplitRequestWhoseBatchesEndInReverseIsInOrder) {
  Served served(Held(2), SmallBatches());
  TestRequest request(8, 7);
  served.batcher->Submit(request);
  ASSERT_TRUE(served.backend.WaitUntilHeld(2));  // the own thread may run the second
  served.backend.Release(1);
  EXPECT_FALSE(request.done());
  served.backend.Release(0);
  ASSERT_TRUE(request.WaitUntilDone());
  EXPECT_TRUE(request.own_rows);
}

TEST(BatcherTest, RowsBeyondTheSlotsAreCopiedWhenASlotIsFree) {
  Served served(Held(), SmallBatches());
  TestRequest first(12, 1), second(9, 2);
  served.batcher->Submit(first);
  served.batcher->Submit(second);
  EXPECT_EQ(served.batcher->stats().queued_rows, 9);
  EXPECT_EQ(served.batcher->stats().queued_requests, 1);
  EXPECT_EQ(served.batcher->stats().slots_in_use, 3);
  served.backend.ReleaseAll();
  EXPECT_TRUE(first.own_rows);
  EXPECT_TRUE(second.own_rows);
  EXPECT_EQ(served.batcher->stats().queued_rows, 0);
  EXPECT_EQ(served.batcher->stats().slots_in_use, 0);
}

TEST(BatcherTest, RowsThatASourceHasAreReadWhenASlotIsTheirs) {
  // The rows of a request, which it had itself.
  struct Source final : InputSource {
    void Read(size_t offset, std::span<std::byte> to) override {
      CopyBytes(pieces, offset, to);
      bytes.fetch_add(to.size());
    }
    std::span<const std::span<const std::byte>> pieces;
    std::atomic<size_t> bytes{0};
  };
  for (const auto& fake : {Inline(), Threads(2), Held()}) {
    Served served(fake, SmallBatches());
    TestRequest before(3, 1), request(11, 2);
    Source source;
    source.pieces = std::exchange(request.input, {});
    request.source = &source;
    served.batcher->Submit(before);
    served.batcher->Submit(request);
    if (fake.mode == FakeMode::kHeld) {
      EXPECT_LT(source.bytes, 11u * kInputs * sizeof(float)) << "the rest waits, unread";
      served.backend.ReleaseAll();
    }
    ASSERT_TRUE(request.WaitUntilDone() && before.WaitUntilDone());
    EXPECT_TRUE(request.own_rows) << request.status;
    EXPECT_TRUE(before.own_rows) << before.status;
    EXPECT_EQ(source.bytes, 11u * kInputs * sizeof(float)) << "each once";
  }
}

TEST(BatcherTest, NaNAndInfinityPassThroughBitByBit) {
  Served served(Inline(), SmallBatches());
  struct Special final : TestRequest {
    Special() : TestRequest(1) {
      spans_ = {std::as_bytes(std::span<const float>(values))};
      input = spans_;
    }
    void OnDone(absl::Status answer, std::span<OutputRows> outputs) override {
      ASSERT_TRUE(answer.ok());
      const std::vector<float> expected = FakeResult({values, values + kInputs}, kOutputs);
      ASSERT_EQ(outputs[0].bytes.size(), expected.size() * sizeof(float));
      same = std::memcmp(outputs[0].bytes.data(), expected.data(), outputs[0].bytes.size()) == 0;
    }
    const float values[3] = {std::numeric_limits<float>::quiet_NaN(),
                             std::numeric_limits<float>::infinity(), -0.0f};
    bool same = false;
  } request;
  served.batcher->Submit(request);
  EXPECT_TRUE(request.same);
}

TEST(BatcherTest, ARequestCarriesTheTimesOfItsBatches) {
  Served served(Held(), SmallBatches());
  TestRequest request(8);
  const TimePoint received = request.timing.received = Clock::now();
  served.batcher->Submit(request);
  served.backend.Release();
  const TimePoint between = Clock::now();
  served.backend.Release();
  EXPECT_EQ(request.timing.received, received);
  EXPECT_GE(request.timing.batch_started, received);
  EXPECT_LE(request.timing.batch_started, between);  // of the first batch
  EXPECT_LE(request.timing.infer_started, request.timing.infer_ended);
  EXPECT_GE(request.timing.done, between);  // of the last
}

TEST(BatcherTest, TheObserverSeesEveryBatch) {
  Served served(Held(), SmallBatches());
  TestRequest request(7);
  served.batcher->Submit(request);
  served.backend.Release();
  served.backend.FailRuns(absl::InternalError("no"));
  served.backend.Release();
  EXPECT_EQ(served.observer.batches, 2);
  EXPECT_EQ(served.observer.batch_rows, 7);
  EXPECT_EQ(served.observer.failed, 1);
}

TEST(BatcherTest, TheObserverSeesABatchThatAnswersNobody) {
  Served served(Held(), SmallBatches());
  TestRequest request(8);
  served.batcher->Submit(request);
  served.backend.Release();
  EXPECT_FALSE(request.done());
  EXPECT_EQ(served.observer.batches, 1);
  served.backend.Release();
  EXPECT_EQ(served.observer.batches, 2);
}

// --- the hand-over between threads ---

TEST(BatcherTest, TheThreadThatEndsABatchRunsTheNext) {
  FakeBackend::Options slow = Inline();
  slow.run_time = milliseconds(20);
  BatchingOptions options = SmallBatches();
  options.help_limit = seconds(10);
  Served served(slow, options);
  TestRequest first(1, 1), second(1, 2);
  std::thread runner([&] { served.batcher->Submit(first); });
  while (served.batcher->stats().slots_in_use == 0) std::this_thread::yield();
  served.batcher->Submit(second);
  runner.join();
  EXPECT_TRUE(first.own_rows);
  ASSERT_TRUE(second.WaitUntilDone());
  EXPECT_TRUE(second.own_rows);
}

TEST(BatcherTest, AThreadIsNotKeptLongerThanItsLimit) {
  FakeBackend::Options slow = Inline();
  slow.run_time = milliseconds(5);
  BatchingOptions options = SmallBatches();
  options.help_limit = Duration::zero();
  Served served(slow, options);
  TestRequest request(12);  // three batches: this thread runs one, the batcher's own the others
  request.on_done = [] {};
  served.batcher->Submit(request);
  ASSERT_TRUE(request.WaitUntilDone());
  EXPECT_TRUE(request.own_rows);
  EXPECT_NE(request.thread, std::this_thread::get_id());
}

TEST(BatcherTest, ASecondIdleLaneIsNotLeftIdle) {
  // Each run of the two waits until the other has begun: on one thread that would take for ever.
  std::vector<std::vector<std::byte>> memory(6, std::vector<std::byte>(16));
  BatchBuffers buffers = {
      .input_row_bytes = 4, .output_row_bytes = 4, .lanes = 2, .runs_inline = true};
  for (int i = 0; i < 3; ++i) buffers.slots.emplace_back(memory[i]);
  for (int i = 3; i < 6; ++i) buffers.outputs.emplace_back(memory[i]);
  std::atomic<int> begun{0};
  FunctionRunner runner(
      [&](const BatchRun& run, BatchEvents& events) {
        ++begun;
        while (begun < 2) std::this_thread::yield();
        events.OnDone(run, absl::OkStatus(), {});
      },
      4);
  BatchThreads threads({.runners = 1});
  auto batcher = *Batcher::Create(SmallBatches(), buffers, runner, threads, nullptr);
  struct Request final : InferRequest {
    void OnDone(absl::Status status, std::span<OutputRows>) override { ok = status.ok(); }
    std::atomic<bool> ok{false};
  } request;
  const std::vector<std::byte> bytes(32);
  const std::span<const std::byte> span(bytes);
  request.rows = 8;
  request.input = {&span, 1};
  batcher->Submit(request);
  batcher->Drain();
  EXPECT_TRUE(request.ok);
}

TEST(BatcherTest, ABatchThatEndsBeforeRunReturnsIsAnsweredByTheThreadThatRanItWhoeverSaysSo) {
  std::vector<std::byte> slot(16), output(16);
  BatchBuffers buffers = {
      .slots = {slot}, .outputs = {output}, .input_row_bytes = 4, .output_row_bytes = 4};
  FunctionRunner runner(
      [](const BatchRun& run, BatchEvents& events) {
        std::thread([&] { events.OnDone(run, absl::OkStatus(), {}); }).join();
      },
      4);
  BatchThreads threads({.runners = 1});
  auto batcher = *Batcher::Create(SmallBatches(), buffers, runner, threads, nullptr);
  struct Request final : InferRequest {
    void OnDone(absl::Status, std::span<OutputRows>) override {
      thread = std::this_thread::get_id();
    }
    std::thread::id thread;
  } request;
  const std::vector<std::byte> bytes(4);
  const std::span<const std::byte> span(bytes);
  request.rows = 1;
  request.input = {&span, 1};
  batcher->Submit(request);
  EXPECT_EQ(request.thread, std::this_thread::get_id());
}

TEST(BatcherTest, SubmitWithinOnDoneDoesNotPileUpOnTheStack) {
  Served served(Inline(), SmallBatches());
  constexpr int kRequests = 100'000;  // far more than a stack holds
  std::vector<std::unique_ptr<TestRequest>> requests;
  int next = 0;
  std::function<void()> submit_next = [&] {
    if (next == kRequests) return;
    auto& request = requests.emplace_back(std::make_unique<TestRequest>(1, next % 100));
    ++next;
    request->on_done = submit_next;
    served.batcher->Submit(*request);
  };
  submit_next();
  served.batcher->Drain();
  ASSERT_EQ(requests.size(), static_cast<size_t>(kRequests));
  for (const auto& request : requests) ASSERT_TRUE(request->own_rows);
}

TEST(BatcherTest, ARequestOfOneBlockMaySubmitToAnotherWithinOnDone) {
  Served first_block(Inline(), SmallBatches());
  Served second_block(Inline(), SmallBatches());
  TestRequest first(2, 1), second(3, 2);
  first.on_done = [&] { second_block.batcher->Submit(second); };
  first_block.batcher->Submit(first);
  ASSERT_TRUE(second.WaitUntilDone());
  EXPECT_TRUE(first.own_rows);
  EXPECT_TRUE(second.own_rows);
}

TEST(BatcherTest, ARequestMayBeDestroyedWithinOnDone) {
  for (const auto& fake : {Inline(), Threads()}) {
    Served served(fake, SmallBatches());
    std::atomic<bool> destroyed{false};
    auto* request = new TestRequest(9);
    request->on_done = [&, request] {
      delete request;
      destroyed = true;
    };
    served.batcher->Submit(*request);
    served.batcher->Drain();
    EXPECT_TRUE(destroyed);
  }
}

// --- slots that are free before their batch ends ---

TEST(BatcherTest, RowsThatWaitAreCopiedWhenInputWasReadAndTheBatchStillRuns) {
  Served served(Held(), SmallBatches());
  TestRequest first(12, 1), second(4, 2);
  served.batcher->Submit(first);
  served.batcher->Submit(second);
  EXPECT_EQ(served.batcher->stats().queued_rows, 4);
  served.backend.ReadInput();
  EXPECT_EQ(served.batcher->stats().queued_rows, 0);
  EXPECT_EQ(served.batcher->stats().slots_in_use, 3);
  EXPECT_EQ(served.backend.held(), 1);  // the lane is still busy
  served.backend.ReleaseAll();
  EXPECT_TRUE(first.own_rows);
  EXPECT_TRUE(second.own_rows);
  EXPECT_EQ(served.batcher->stats().slots_in_use, 0);
}

TEST(BatcherTest, OneSlotFeedsTwoLanesIfItsInputIsReadEarly) {
  FakeBackend::Options one_slot = Held(2);
  one_slot.slots = 1;
  Served served(one_slot, SmallBatches());
  TestRequest first(4, 1), second(4, 2);
  served.batcher->Submit(first);
  served.batcher->Submit(second);
  EXPECT_EQ(served.backend.held(), 1);
  served.backend.ReadInput();
  ASSERT_TRUE(served.backend.WaitUntilHeld(2));
  EXPECT_EQ(served.backend.held_run(0).slot, served.backend.held_run(1).slot);
  EXPECT_NE(served.backend.held_run(0).lane, served.backend.held_run(1).lane);
  served.backend.ReleaseAll();
  EXPECT_TRUE(first.own_rows);
  EXPECT_TRUE(second.own_rows);
}

TEST(BatcherTest, ASecondLaneTakesRowsOnceItsDeviceIsNearlyDone) {
  FakeBackend::Options two_lanes = Held(2);
  two_lanes.lanes_per_device = 2;
  Served served(two_lanes, SmallBatches());
  TestRequest first(1, 1), second(1, 2), third(1, 3);
  served.batcher->Submit(first);
  served.batcher->Submit(second);
  EXPECT_EQ(served.backend.held(), 1);
  served.backend.NearEnd();
  ASSERT_EQ(served.backend.held(), 2);
  EXPECT_NE(served.backend.held_run(0).lane, served.backend.held_run(1).lane);
  served.batcher->Submit(third);
  EXPECT_EQ(served.backend.held(), 2) << "the second batch computes";
  served.backend.Release(0);
  EXPECT_TRUE(first.own_rows);
  EXPECT_EQ(served.backend.held(), 1) << "and still does";
  served.backend.ReleaseAll();
  EXPECT_TRUE(second.own_rows);
  EXPECT_TRUE(third.own_rows);
}

TEST(BatcherTest, EveryRequestGetsItsOwnRowsWhereSlotsAreFreeEarly) {
  for (FakeBackend::Options fake : {Inline(), Threads(), Threads(2)}) {
    fake.reads_early = true;
    fake.slots = 1;
    Served served(fake, SmallBatches());
    for (int id = 0; id < 20; ++id) {
      TestRequest request(16, id);
      served.batcher->Submit(request);
      ASSERT_TRUE(request.WaitUntilDone());
      EXPECT_TRUE(request.own_rows) << request.status;
    }
  }
}

// --- buffers that grow ---

TEST(BatcherTest, BatchesAreCutToWhatBuffersHoldAndGrowWithThem) {
  FakeBackend::Options growing = Held();
  growing.first_rows = 1;
  Served served(growing, SmallBatches());
  TestRequest request(12);
  served.batcher->Submit(request);
  std::vector<int64_t> sizes;
  while (served.backend.held() > 0) {
    sizes.push_back(served.backend.held_run(0).rows);
    served.backend.Release();
  }
  EXPECT_TRUE(request.own_rows);
  // Three slots were taken at one row each, while the first of them asked for more.
  EXPECT_THAT(sizes, testing::ElementsAre(1, 1, 1, 2, 2, 2, 3));
}

TEST(BatcherTest, BuffersOfFullSizeAreNotAskedToGrow) {
  struct Runner final : BatchRunner {
    void Run(const BatchRun& run, BatchEvents& events) override {
      events.OnDone(run, absl::OkStatus(), {});
    }
    int64_t ready_rows() const override { return 4; }
    void Grow() override { ADD_FAILURE() << "they hold max_rows"; }
  } runner;
  std::vector<std::byte> slot(16), output(16);
  BatchThreads threads({.runners = 1});
  auto batcher = *Batcher::Create(SmallBatches(),
                                  {.slots = {slot},
                                   .outputs = {output},
                                   .input_row_bytes = 4,
                                   .output_row_bytes = 4,
                                   .runs_inline = true},
                                  runner, threads, nullptr);
  struct Request final : InferRequest {
    void OnDone(absl::Status, std::span<OutputRows>) override {}
  } request;
  const std::vector<std::byte> bytes(16);
  const std::span<const std::byte> span(bytes);
  request.rows = 4;
  request.input = {&span, 1};
  batcher->Submit(request);
}

// --- a device that is lost ---

TEST(BatcherTest, ALostDeviceAnswersWhatIsInFlightQueuedAndNewWithUnavailable) {
  for (const auto& fake : {Held(), Held(2)}) {
    Served served(fake, SmallBatches());
    TestRequest in_flight(12, 1), queued(9, 2), late(1, 3);
    served.batcher->Submit(in_flight);
    served.batcher->Submit(queued);
    served.backend.Lose(absl::UnavailableError("fell off the bus"));
    served.batcher->Submit(late);
    for (TestRequest* request : {&in_flight, &queued, &late}) {
      ASSERT_TRUE(request->WaitUntilDone());
      EXPECT_EQ(request->status, absl::UnavailableError("fell off the bus"));
    }
    EXPECT_GE(served.observer.lost, 3);
  }
}

// --- time ---

TEST(BatcherTest, AQueueDelayEndsWithoutAnotherRequest) {
  for (const auto& fake : {Inline(), Threads()}) {
    BatchingOptions options = SmallBatches();
    options.max_queue_delay = milliseconds(20);
    Served served(fake, options);
    TestRequest request(1);
    const TimePoint start = Clock::now();
    served.batcher->Submit(request);
    EXPECT_FALSE(request.done());
    ASSERT_TRUE(request.WaitUntilDone());
    EXPECT_GE(Clock::now() - start, milliseconds(20));
    EXPECT_TRUE(request.own_rows);
  }
}

TEST(BatcherTest, AWaitingRequestIsAnsweredWhenItsDeadlinePasses) {
  Served served(Held(), SmallBatches());
  TestRequest filler(12), late(1), later(1), patient(1);
  served.batcher->Submit(filler);
  later.deadline = Clock::now() + milliseconds(40);
  late.queue_timeout = milliseconds(20);  // the own thread must wake earlier than it meant to
  for (TestRequest* request : {&later, &late, &patient}) served.batcher->Submit(*request);
  ASSERT_TRUE(late.WaitUntilDone());
  ASSERT_TRUE(later.WaitUntilDone());
  EXPECT_EQ(late.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(later.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(late.status.message()), HasSubstr("queue timeout"));
  EXPECT_THAT(std::string(later.status.message()), HasSubstr("deadline"));
  EXPECT_EQ(served.observer.evicted(Eviction::kTimeout), 1);
  EXPECT_EQ(served.observer.evicted(Eviction::kDeadline), 1);
  EXPECT_FALSE(patient.done());
  served.backend.ReleaseAll();
  EXPECT_TRUE(patient.own_rows);
  EXPECT_EQ(served.observer.batch_rows, 13);  // what expired never ran
}

TEST(BatcherTest, ARequestWhoseDeadlineHasPassedIsRefusedAndCounted) {
  Served served(Inline(), SmallBatches());
  TestRequest request(1);
  request.deadline = Clock::now();
  served.batcher->Submit(request);
  EXPECT_EQ(request.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(served.observer.evicted(Eviction::kDeadline), 1);
}

TEST(BatcherTest, ACancelledRequestLeavesTheQueueAtOnce) {
  Served served(Held(), SmallBatches());
  TestRequest filler(12), waiting(2);
  served.batcher->Submit(filler);
  served.batcher->Submit(waiting);
  served.batcher->Cancel(waiting);
  EXPECT_EQ(waiting.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(served.observer.evicted(Eviction::kCancelled), 1);
  served.batcher->Cancel(waiting);  // it is done: nothing happens
  served.backend.ReleaseAll();
  EXPECT_EQ(served.observer.batch_rows, 12);
}

TEST(BatcherTest, ARequestWhoseBatchRunsIsAnsweredWhenItIsCancelledOrItsDeadlinePasses) {
  Served served(Held(), SmallBatches());
  TestRequest cancelled(1, 1), late(1, 2), patient(1, 3), filler(1, 4);
  served.batcher->Submit(filler);
  late.deadline = Clock::now() + milliseconds(20);
  for (TestRequest* request : {&cancelled, &late, &patient}) served.batcher->Submit(*request);
  served.backend.Release();
  EXPECT_EQ(served.backend.held_run(0).rows, 3);
  served.batcher->Cancel(cancelled);
  EXPECT_EQ(cancelled.status.code(), absl::StatusCode::kCancelled);
  ASSERT_TRUE(late.WaitUntilDone());
  EXPECT_EQ(late.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(patient.done());
  served.backend.Release();
  EXPECT_TRUE(patient.own_rows);
  EXPECT_EQ(served.observer.evicted(Eviction::kCancelled), 1);
  EXPECT_EQ(served.observer.evicted(Eviction::kDeadline), 1);
}

TEST(BatcherTest, ABatchInWhichNobodyWaitsAnyMoreIsNotRun) {
  Served served(Held(), SmallBatches());
  TestRequest filler(4, 1), first(2, 2), second(9, 3);
  for (TestRequest* request : {&filler, &first, &second}) served.batcher->Submit(*request);
  EXPECT_EQ(served.batcher->stats().pending_requests, 2);
  served.batcher->Cancel(second);
  served.batcher->Cancel(first);
  EXPECT_EQ(served.batcher->stats().pending_requests, 0);
  served.backend.ReleaseAll();
  EXPECT_TRUE(filler.own_rows);
  EXPECT_EQ(served.observer.batch_rows, 4);
}

TEST(BatcherTest, ARefusedRequestSaysWhenToTryAgain) {
  FakeBackend::Options measured = Held();
  measured.batch_times = {{4, milliseconds(30)}};
  Served served(measured, SmallBatches());
  TestRequest filler(4, 1), refused(4, 2);
  served.batcher->Submit(filler);
  refused.deadline = Clock::now() + milliseconds(40);
  served.batcher->Submit(refused);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(refused.retry_after, milliseconds(20));
  EXPECT_LE(refused.retry_after, milliseconds(60));
  served.backend.ReleaseAll();
}

TEST(BatcherTest, ARequestThatIsPartlyInSlotsMayBeCancelledAndDestroyedAtOnce) {
  BatchingOptions options = SmallBatches();
  options.max_queued_rows = 24;
  Served served(Held(), options);
  TestRequest before(2, 1);
  auto split = std::make_unique<TestRequest>(24, 2);
  served.batcher->Submit(before);
  served.batcher->Submit(*split);
  served.backend.Release();
  served.backend.Release();  // some of its results are there already
  served.batcher->Cancel(*split);
  ASSERT_EQ(split->status.code(), absl::StatusCode::kCancelled);
  split.reset();
  TestRequest after(3, 3);
  served.batcher->Submit(after);
  served.backend.ReleaseAll();
  EXPECT_TRUE(before.own_rows);
  EXPECT_TRUE(after.own_rows);
}

TEST(BatcherTest, CancellingARequestThatWasNeverSubmittedDoesNothing) {
  Served served(Inline(), SmallBatches());
  TestRequest request(1);
  served.batcher->Cancel(request);
  EXPECT_FALSE(request.done());
}

// --- refusals ---

TEST(BatcherTest, AFullQueueRefusesAtOnce) {
  Served served(Held(), SmallBatches());
  TestRequest filler(12), waiting(16), refused(1);
  for (TestRequest* request : {&filler, &waiting, &refused}) served.batcher->Submit(*request);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted);
  served.backend.ReleaseAll();
  EXPECT_TRUE(waiting.own_rows);
}

TEST(BatcherTest, TheQueueIsBoundedInBytesToo) {
  BatchingOptions options = SmallBatches();
  options.max_queued_bytes = 5 * kInputs * 4 + 1;
  Served served(Held(), options);
  EXPECT_EQ(served.batcher->stats().queued_rows_limit, 5);
  TestRequest never(6);
  served.batcher->Submit(never);
  EXPECT_EQ(never.status.code(), absl::StatusCode::kInvalidArgument);
}

TEST(BatcherTest, InputThatIsNotRowsTimesBytesPerRowIsInvalid) {
  Served served(Inline(), SmallBatches());
  for (const int64_t claimed : {int64_t{1}, int64_t{3}, int64_t{0}, int64_t{-1}, INT64_MAX}) {
    TestRequest request(2);
    request.rows = claimed;
    served.batcher->Submit(request);
    EXPECT_EQ(request.status.code(), absl::StatusCode::kInvalidArgument) << claimed;
  }
  TestRequest empty(0);
  served.batcher->Submit(empty);
  EXPECT_EQ(empty.status.code(), absl::StatusCode::kInvalidArgument);
}

// --- failures ---

TEST(BatcherTest, AFailedRunFailsItsRequestsWithItsStatusAndTheNextIsServed) {
  for (const auto& fake : {Inline(), Threads(), Inline(2)}) {
    Served served(fake, SmallBatches());
    served.backend.FailRuns(absl::UnavailableError("the device is lost"));
    TestRequest failed(11, 1);
    served.batcher->Submit(failed);
    ASSERT_TRUE(failed.WaitUntilDone());
    EXPECT_EQ(failed.status, absl::UnavailableError("the device is lost"));
    served.batcher->Drain();
    served.backend.FailRuns(absl::OkStatus());
    TestRequest next(11, 2);
    served.batcher->Submit(next);
    ASSERT_TRUE(next.WaitUntilDone());
    EXPECT_TRUE(next.own_rows);
  }
}

// --- outputs ---

TEST(BatcherTest, SlowReadersCostNoLaneAndKeepTheirResults) {
  Served served(Inline(), SmallBatches());  // 4 outputs: 3 are lent, then results are copied
  std::vector<std::unique_ptr<TestRequest>> requests;
  for (int i = 0; i < 50; ++i) {
    requests.push_back(std::make_unique<TestRequest>(1 + i % 4, i));
    requests.back()->keep_outputs = true;
    served.batcher->Submit(*requests.back());
    ASSERT_TRUE(requests.back()->own_rows);
  }
  EXPECT_GT(served.batcher->stats().copied_bytes, 0);
  for (const auto& request : requests) EXPECT_TRUE(request->HoldsOwnRows(request->kept));
  requests.clear();
  EXPECT_EQ(served.batcher->stats().copied_bytes, 0);
  TestRequest after(4);
  served.batcher->Submit(after);
  EXPECT_TRUE(after.own_rows);
}

TEST(BatcherTest, TooManyCopiedResultsRefuseNewRequestsUntilTheyAreRead) {
  BatchingOptions options = SmallBatches();
  options.max_copied_bytes = 2 * kOutputs * 4;
  FakeBackend::Options one_output = Inline();
  one_output.outputs = 1;
  Served served(one_output, options);
  std::vector<std::unique_ptr<TestRequest>> readers;
  for (int i = 0; i < 3; ++i) {
    readers.push_back(std::make_unique<TestRequest>(1, i));
    readers.back()->keep_outputs = true;
    served.batcher->Submit(*readers.back());
    EXPECT_TRUE(readers.back()->own_rows);
  }
  TestRequest refused(1), served_again(1);
  served.batcher->Submit(refused);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status.message()), HasSubstr("wait to be read"));
  readers.clear();
  served.batcher->Submit(served_again);
  EXPECT_TRUE(served_again.own_rows);
}

TEST(BatcherTest, ASplitRequestLongerThanAllOutputsIsServed) {
  BatchingOptions options = SmallBatches();
  options.max_queued_rows = 400;
  for (const auto& fake : {Inline(), Threads(2)}) {
    Served served(fake, options);
    TestRequest request(400, 5);
    served.batcher->Submit(request);
    ASSERT_TRUE(request.WaitUntilDone());
    EXPECT_TRUE(request.own_rows);
    EXPECT_EQ(request.pieces, 100);
  }
}

// Whoever ends too early is caught in one of the rounds, and nobody else ever fails.
TEST(BatcherTest, DestructionWaitsForTheLastLease) {
  for (int round = 0; round < 20; ++round) {
    auto served = std::make_unique<Served>(Inline(), SmallBatches());
    TestRequest request(3);
    request.keep_outputs = true;
    served->batcher->Submit(request);
    std::atomic<bool> begun{false}, dropped{false};
    std::thread destroyer([&] {
      begun = true;
      served.reset();
      EXPECT_TRUE(dropped);
    });
    while (!begun) std::this_thread::yield();
    EXPECT_TRUE(request.HoldsOwnRows(request.kept));
    dropped = true;
    request.kept.clear();
    destroyer.join();
  }
}

// --- draining ---

TEST(BatcherTest, DrainWaitsForWhatIsQueuedAndInFlight) {
  for (int round = 0; round < 20; ++round) {
    Served served(Held(), SmallBatches());
    TestRequest request(16);
    served.batcher->Submit(request);
    std::atomic<bool> begun{false};
    std::thread drainer([&] {
      begun = true;
      served.batcher->Drain();
      EXPECT_TRUE(request.done());
    });
    while (!begun) std::this_thread::yield();
    served.backend.ReleaseAll();
    drainer.join();
    EXPECT_TRUE(request.own_rows);
  }
}

TEST(BatcherTest, DrainOfAnIdleBatcherReturns) {
  Served served(Inline(), SmallBatches());
  served.batcher->Drain();
  served.batcher->Drain();
}

TEST(BatcherTest, DestructionServesWhatIsQueued) {
  auto served = std::make_unique<Served>(Threads(2), SmallBatches());
  TestRequest first(16, 1), second(9, 2);
  served->batcher->Submit(first);
  served->batcher->Submit(second);
  served.reset();
  EXPECT_TRUE(first.own_rows);
  EXPECT_TRUE(second.own_rows);
}

// --- options ---

TEST(BatcherTest, BadOptionsAndBuffersAreNamed) {
  std::vector<std::byte> memory(64);
  const auto error = [&](const BatchingOptions& options, auto change, int64_t ready_rows = 4) {
    BatchBuffers buffers = {.slots = {memory},
                            .outputs = {memory},
                            .input_row_bytes = 16,
                            .output_row_bytes = 16,
                            .lanes = 1};
    change(buffers);
    FunctionRunner runner([](const BatchRun&, BatchEvents&) {}, ready_rows);
    BatchThreads threads({.runners = 1});
    const auto made = Batcher::Create(options, buffers, runner, threads, nullptr);
    EXPECT_FALSE(made.ok());
    return std::string(made.status().message());
  };
  const auto nothing = [](BatchBuffers&) {};
  EXPECT_THAT(error({.max_rows = 4}, nothing, 0), HasSubstr("1 to 4 rows, found 0"));
  EXPECT_THAT(error({.max_rows = 4}, nothing, 5), HasSubstr("1 to 4 rows, found 5"));
  EXPECT_THAT(error({.max_rows = 4, .one_request_per_batch = true}, nothing, 3),
              HasSubstr("4 to 4 rows, found 3"));
  EXPECT_THAT(error({.max_rows = 5}, nothing),
              HasSubstr("slot 0 must hold max_rows rows, 80 bytes, but holds 64"));
  EXPECT_THAT(error({.max_rows = 4, .max_queued_bytes = 15}, nothing),
              HasSubstr("max_queued_bytes must hold a row, 16 bytes, got 15"));
  EXPECT_THAT(error({.max_rows = 4, .max_queued_rows = 0}, nothing), HasSubstr("max_queued_rows"));
  EXPECT_THAT(error({.max_rows = 4, .help_limit = microseconds(-1)}, nothing),
              HasSubstr("help_limit"));
  EXPECT_THAT(error({.max_rows = 4}, [](auto& buffers) { buffers.slots.clear(); }),
              HasSubstr("slots must be 1 to 64, got 0"));
  EXPECT_THAT(error({.max_rows = 4}, [](auto& buffers) { buffers.lanes = 2; }),
              HasSubstr("outputs must be 2 to 64, got 1"));
  EXPECT_THAT(error({.max_rows = 4}, [](auto& buffers) { buffers.output_row_bytes = 0; }),
              HasSubstr("bytes per row"));
  EXPECT_THAT(error({.max_rows = 4}, [](auto& buffers) { buffers.output_row_bytes = 17; }),
              HasSubstr("output 0 must hold"));
}

}  // namespace
}  // namespace mlpserve
