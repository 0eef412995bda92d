#include "tests/server/engine/fake_backend.h"

#include <atomic>
#include <cstring>
#include <limits>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

BlockSpec Spec(int64_t inputs, int64_t outputs, DataType type = DataType::kFp32) {
  BlockSpec spec;
  spec.input_type = spec.output_type = type;
  spec.layers.resize(1);
  spec.layers[0].inputs = inputs;
  spec.layers[0].outputs = outputs;
  return spec;
}

std::unique_ptr<LoadedBlock> Load(FakeBackend& backend, const BlockSpec& spec,
                                  const BatchingOptions& options = {.max_rows = 4}) {
  const auto placement = backend.Prepare(spec, options);
  EXPECT_TRUE(placement.ok()) << placement.status();
  auto block = backend.Load(spec, *placement, {});
  EXPECT_TRUE(block.ok()) << block.status();
  return *std::move(block);
}

template <typename T>
void Fill(std::span<std::byte> buffer, const std::vector<T>& values) {
  ASSERT_LE(values.size() * sizeof(T), buffer.size());
  std::memcpy(buffer.data(), values.data(), values.size() * sizeof(T));
}

template <typename T>
std::vector<T> Read(std::span<const std::byte> buffer, size_t count) {
  std::vector<T> values(count);
  std::memcpy(values.data(), buffer.data(), count * sizeof(T));
  return values;
}

// What became of a batch.
struct Events final : BatchEvents {
  void OnInputRead(const BatchRun&) override {
    EXPECT_FALSE(ended);
    ++reads;
  }
  void OnNearlyDone(const BatchRun&) override { EXPECT_FALSE(ended); }
  void OnDone(const BatchRun& run, const absl::Status& answer, const BatchTiming& timing) override {
    EXPECT_LE(timing.started, timing.infer_started);
    EXPECT_LE(timing.infer_started, timing.infer_ended);
    EXPECT_LE(timing.infer_ended, timing.done);
    End(run, answer);
  }
  void OnLost(const BatchRun& run, const absl::Status& reason) override {
    lost = true;
    End(run, reason);
  }
  void End(const BatchRun& run, const absl::Status& answer) {
    EXPECT_FALSE(ended);
    status = answer;
    lanes.push_back(run.lane);
    ended = true;
  }

  int reads = 0;
  bool lost = false;
  absl::Status status;
  std::vector<int> lanes;
  std::atomic<bool> ended{false};
};

absl::Status RunAndWait(LoadedBlock& block, const BatchRun& run) {
  Events events;
  block.Run(run, events);
  while (!events.ended) std::this_thread::yield();
  return events.status;
}

TEST(FakeBackendTest, ARowBecomesItsNegativeRepeatedToTheOutputsLength) {
  for (const FakeMode mode : {FakeMode::kInline, FakeMode::kThreads}) {
    FakeBackend backend({.mode = mode});
    const auto block = Load(backend, Spec(2, 3));
    Fill<float>(block->input(1), {1, 2, -3, 4});
    ASSERT_TRUE(RunAndWait(*block, {.slot = 1, .output = 2, .lane = 0, .rows = 2}).ok());
    EXPECT_THAT(Read<float>(block->output(2), 6), ElementsAre(-1, -2, -1, 3, -4, 3));
    EXPECT_THAT(FakeResult({-3, 4}, 3), ElementsAre(3, -4, 3));
  }
}

TEST(FakeBackendTest, RowsBeyondTheBatchAreNotTouched) {
  FakeBackend backend({});
  const auto block = Load(backend, Spec(1, 1));
  Fill<float>(block->input(0), {1, 2, 3, 4});
  Fill<float>(block->output(0), {9, 9, 9, 9});
  ASSERT_TRUE(RunAndWait(*block, {.slot = 0, .output = 0, .lane = 0, .rows = 3}).ok());
  EXPECT_THAT(Read<float>(block->output(0), 4), ElementsAre(-1, -2, -3, 9));
}

TEST(FakeBackendTest, SixteenBitDatatypesFlipTheirSignBitToo) {
  FakeBackend backend({});
  const auto block = Load(backend, Spec(1, 1, DataType::kBf16));
  Fill<uint16_t>(block->input(0), {0x3f80, 0x8000, 0x7fc1});
  ASSERT_TRUE(RunAndWait(*block, {.slot = 0, .output = 0, .lane = 0, .rows = 3}).ok());
  EXPECT_THAT(Read<uint16_t>(block->output(0), 3), ElementsAre(0xbf80, 0x0000, 0xffc1));
}

TEST(FakeBackendTest, HeldBatchesEndInTheOrderInWhichTheTestReleasesThem) {
  FakeBackend backend({.mode = FakeMode::kHeld, .lanes = 2});
  const auto block = Load(backend, Spec(1, 1));
  Events first, second;
  block->Run({.slot = 0, .output = 0, .lane = 0, .rows = 1}, first);
  block->Run({.slot = 1, .output = 1, .lane = 1, .rows = 1}, second);
  EXPECT_TRUE(backend.WaitUntilHeld(2));
  EXPECT_EQ(backend.held_run(1).lane, 1);
  backend.Release(1);
  EXPECT_TRUE(second.ended);
  EXPECT_FALSE(first.ended);
  backend.ReleaseAll();
  EXPECT_TRUE(first.ended);
  EXPECT_EQ(backend.held(), 0);
}

TEST(FakeBackendTest, RunsAndLoadsFailAsTold) {
  FakeBackend backend({});
  const auto block = Load(backend, Spec(1, 1));
  const BatchRun run = {.slot = 0, .output = 0, .lane = 0, .rows = 1};
  backend.FailRuns(absl::UnavailableError("lost"));
  EXPECT_EQ(RunAndWait(*block, run), absl::UnavailableError("lost"));
  backend.FailRuns(absl::OkStatus());
  EXPECT_TRUE(RunAndWait(*block, run).ok());
  backend.FailLoads(absl::ResourceExhaustedError("memory"));
  const Placement placement = *backend.Prepare(Spec(1, 1), {});
  EXPECT_EQ(backend.Load(Spec(1, 1), placement, {}).status(),
            absl::ResourceExhaustedError("memory"));
}

TEST(FakeBackendTest, InputThatWasReadFreesItsSlotBeforeTheBatchEnds) {
  FakeBackend backend({.mode = FakeMode::kHeld, .lanes = 2});
  const auto block = Load(backend, Spec(1, 1));
  Fill<float>(block->input(0), {1});
  Events first, second;
  block->Run({.slot = 0, .output = 0, .lane = 0, .rows = 1}, first);
  backend.ReadInput();
  EXPECT_EQ(first.reads, 1);
  Fill<float>(block->input(0), {2});
  block->Run({.slot = 0, .output = 1, .lane = 1, .rows = 1}, second);
  backend.ReleaseAll();
  EXPECT_THAT(Read<float>(block->output(0), 1), ElementsAre(-1));
  EXPECT_THAT(Read<float>(block->output(1), 1), ElementsAre(-2));
}

TEST(FakeBackendTest, ALostDeviceEndsWhatIsHeldAndWhatComesLater) {
  for (const FakeMode mode : {FakeMode::kInline, FakeMode::kThreads, FakeMode::kHeld}) {
    FakeBackend backend({.mode = mode, .lanes = 2});
    const auto block = Load(backend, Spec(1, 1));
    Events before, after;
    block->Run({.slot = 0, .output = 0, .lane = 0, .rows = 1}, before);
    backend.Lose(absl::UnavailableError("gone"));
    block->Run({.slot = 1, .output = 1, .lane = 1, .rows = 1}, after);
    while (!before.ended || !after.ended) std::this_thread::yield();
    EXPECT_TRUE(after.lost);
    EXPECT_EQ(after.status, absl::UnavailableError("gone"));
    EXPECT_TRUE(before.lost || mode != FakeMode::kHeld);
    const Placement placement = *backend.Prepare(Spec(1, 1), {});
    EXPECT_EQ(backend.Load(Spec(1, 1), placement, {}).status(), absl::UnavailableError("gone"));
  }
}

TEST(FakeBackendTest, AHeldLoadEndsWhenItIsStopped) {
  FakeBackend backend({});
  backend.HoldLoads(true);
  std::stop_source stop;
  std::thread stopper([&] {
    EXPECT_TRUE(backend.WaitUntilLoadIsHeld());
    stop.request_stop();
  });
  int told = 0;
  const Placement placement = *backend.Prepare(Spec(1, 1), {});
  const auto loaded =
      backend.Load(Spec(1, 1), placement,
                   {.stop = stop.get_token(), .progress = [&](const LoadProgress&) { ++told; }});
  stopper.join();
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kCancelled);
  EXPECT_GT(told, 0);
}

TEST(FakeBackendTest, BuffersGrowUpToMaxRows) {
  FakeBackend backend({.first_rows = 3});
  const auto block = Load(backend, Spec(1, 1));
  EXPECT_EQ(block->ready_rows(), 3);
  const BatchRun four = {.slot = 0, .output = 0, .lane = 0, .rows = 4};
  EXPECT_EQ(RunAndWait(*block, four).code(), absl::StatusCode::kInternal);
  block->Grow();
  EXPECT_EQ(block->ready_rows(), 4);
  EXPECT_TRUE(RunAndWait(*block, four).ok());
}

TEST(FakeBackendTest, MisuseEndsWithInternal) {
  FakeBackend backend({.mode = FakeMode::kHeld, .lanes = 2});
  const auto block = Load(backend, Spec(1, 1));
  Events held;
  block->Run({.slot = 0, .output = 0, .lane = 0, .rows = 1}, held);
  for (const BatchRun& bad : {BatchRun{.slot = 1, .output = 1, .lane = 0, .rows = 1},
                              BatchRun{.slot = 0, .output = 1, .lane = 1, .rows = 1},
                              BatchRun{.slot = 1, .output = 0, .lane = 1, .rows = 1},
                              BatchRun{.slot = 3, .output = 1, .lane = 1, .rows = 1},
                              BatchRun{.slot = 1, .output = -1, .lane = 1, .rows = 1},
                              BatchRun{.slot = 1, .output = 1, .lane = 2, .rows = 1},
                              BatchRun{.slot = 1, .output = 1, .lane = 1, .rows = 0},
                              BatchRun{.slot = 1, .output = 1, .lane = 1, .rows = 5}}) {
    const absl::Status status = RunAndWait(*block, bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected an idle lane"));
  }
  backend.ReleaseAll();
}

TEST(FakeBackendTest, BucketsAreThoseAskedForOrTheWholeSlot) {
  FakeBackend backend({});
  const auto whole = Load(backend, Spec(1, 1));
  EXPECT_EQ(whole->Bucket(1), 4);
  const auto chosen = Load(backend, Spec(1, 1), {.max_rows = 8, .buckets = {1, 4, 8}});
  EXPECT_EQ(chosen->Bucket(1), 1);
  EXPECT_EQ(chosen->Bucket(2), 4);
  EXPECT_EQ(chosen->Bucket(5), 8);
}

TEST(FakeBackendTest, WhatItCannotDoIsRefused) {
  FakeBackend backend({.lanes = 2});
  BlockSpec mixed = Spec(1, 1);
  mixed.output_type = DataType::kFp16;
  EXPECT_EQ(backend.Prepare(mixed, {}).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(backend.Prepare(Spec(1, 1), {.max_rows = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
  Placement placement = *backend.Prepare(Spec(1, 1), {});
  placement.outputs = 1;
  EXPECT_EQ(backend.Load(Spec(1, 1), placement, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mlpserve
