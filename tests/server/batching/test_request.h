// Requests, buffers and a batcher over the fake backend, for the tests of the batcher.
#pragma once

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/batching/batcher.h"
#include "tests/server/engine/fake_backend.h"

namespace mlpserve {

inline constexpr int64_t kInputs = 3;
inline constexpr int64_t kOutputs = 5;

// A request of `count` rows whose values say whose rows they are, cut into uneven pieces. Knows
// whether its answer is its own rows, in order, bit by bit.
class TestRequest : public InferRequest {
 public:
  explicit TestRequest(int64_t count, int id = 0) : id_(id), values_(Count(count)) {
    rows = count;
    for (size_t i = 0; i < values_.size(); ++i) {
      values_[i] = static_cast<float>(id) * 4096.0f + static_cast<float>(i % 4096) + 1.0f;
    }
    Cut();
  }
  virtual ~TestRequest() = default;
  TestRequest(const TestRequest&) = delete;
  TestRequest& operator=(const TestRequest&) = delete;

  void OnDone(absl::Status answer, std::span<OutputRows> outputs) override {
    EXPECT_EQ(calls.load(), 0) << "answered twice";
    pieces = static_cast<int>(outputs.size());
    own_rows = answer.ok() && HoldsOwnRows(outputs);
    EXPECT_TRUE(answer.ok() || outputs.empty());
    if (keep_outputs) {
      for (OutputRows& output : outputs) kept.push_back(std::move(output));
    }
    status = std::move(answer);
    thread = std::this_thread::get_id();
    auto then = on_done;
    calls.fetch_add(1, std::memory_order_release);
    if (then) then();
  }

  bool done() const { return calls.load(std::memory_order_acquire) > 0; }
  bool WaitUntilDone() const {
    const TimePoint limit = Clock::now() + std::chrono::seconds(10);
    while (!done() && Clock::now() < limit) std::this_thread::yield();
    return done();
  }

  bool HoldsOwnRows(std::span<const OutputRows> outputs) const {
    std::vector<std::byte> bytes;
    for (const OutputRows& output : outputs) {
      bytes.insert(bytes.end(), output.bytes.begin(), output.bytes.end());
    }
    std::vector<float> expected;
    for (int64_t row = 0; row < rows; ++row) {
      const float* x = values_.data() + row * kInputs;
      const std::vector<float> y = FakeResult({x, x + kInputs}, kOutputs);
      expected.insert(expected.end(), y.begin(), y.end());
    }
    return bytes.size() == expected.size() * sizeof(float) &&
           std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0;
  }

  // Set before Submit.
  bool keep_outputs = false;
  std::function<void()> on_done;  // last of all; may destroy the request
  // Valid once done.
  std::atomic<int> calls{0};
  absl::Status status = absl::UnknownError("not done");
  bool own_rows = false;
  int pieces = 0;
  std::thread::id thread;
  std::vector<OutputRows> kept;

 protected:
  std::vector<std::span<const std::byte>> spans_;

 private:
  static size_t Count(int64_t count) {
    return count > 0 ? static_cast<size_t>(count * kInputs) : 0;
  }

  void Cut() {
    std::span<const std::byte> rest = std::as_bytes(std::span<const float>(values_));
    for (size_t size = 1 + static_cast<size_t>(id_) % 29; !rest.empty(); size = size * 3 + 1) {
      const size_t take = std::min(size, rest.size());
      spans_.push_back(rest.first(take));
      rest = rest.subspan(take);
    }
    input = spans_;
  }

  const int id_;
  std::vector<float> values_;
};

class CountingObserver final : public BatchObserver {
 public:
  void OnBatch(int64_t rows, const absl::Status& status, const BatchTiming& timing) override {
    batches.fetch_add(1);
    batch_rows.fetch_add(rows);
    if (!status.ok()) failed.fetch_add(1);
    EXPECT_LE(timing.started, timing.done);
  }
  void OnEviction(Eviction reason) override { evictions[static_cast<size_t>(reason)].fetch_add(1); }

  void OnLost(const absl::Status&) override { lost.fetch_add(1); }

  std::atomic<int64_t> batches{0}, batch_rows{0}, failed{0}, lost{0};
  std::atomic<int64_t> evictions[3] = {};
  int64_t evicted(Eviction reason) const { return evictions[static_cast<size_t>(reason)].load(); }
};

// Runs batches as a function says.
struct FunctionRunner final : BatchRunner {
  explicit FunctionRunner(std::function<void(const BatchRun&, BatchEvents&)> function, int64_t rows)
      : run(std::move(function)), max_rows(rows) {}
  void Run(const BatchRun& batch, BatchEvents& events) override { run(batch, events); }
  int64_t ready_rows() const override { return max_rows; }
  void Grow() override {}

  const std::function<void(const BatchRun&, BatchEvents&)> run;
  const int64_t max_rows;
};

// A batcher over a fake block of kInputs to kOutputs features. In the order of destruction: the
// batcher, its block, the threads, the backend.
struct Served {
  Served(const FakeBackend::Options& fake, const BatchingOptions& options) : backend(fake) {
    BlockSpec spec;
    spec.layers.resize(1);
    spec.layers[0].inputs = kInputs;
    spec.layers[0].outputs = kOutputs;
    const Placement placement = *backend.Prepare(spec, options);
    block = *backend.Load(spec, placement, {});
    BatchBuffers buffers;
    for (int i = 0; i < placement.slots; ++i) buffers.slots.push_back(block->input(i));
    for (int i = 0; i < placement.outputs; ++i) buffers.outputs.push_back(block->output(i));
    buffers.input_row_bytes = kInputs * 4;
    buffers.output_row_bytes = kOutputs * 4;
    buffers.lanes = placement.lanes;
    buffers.lanes_per_device = placement.lanes_per_device;
    buffers.batch_times = block->batch_times();
    buffers.runs_inline = placement.runs_inline;
    auto made = Batcher::Create(options, std::move(buffers), *block, threads, &observer);
    EXPECT_TRUE(made.ok()) << made.status();
    batcher = *std::move(made);
  }

  FakeBackend backend;
  BatchThreads threads{{.runners = 2}};
  std::unique_ptr<LoadedBlock> block;
  CountingObserver observer;
  std::unique_ptr<Batcher> batcher;
};

inline FakeBackend::Options Inline(int lanes = 1) {
  return {.mode = FakeMode::kInline, .lanes = lanes};
}
inline FakeBackend::Options Held(int lanes = 1) {
  return {.mode = FakeMode::kHeld, .lanes = lanes};
}
inline FakeBackend::Options Threads(int lanes = 1) {
  return {.mode = FakeMode::kThreads, .lanes = lanes};
}

// Slots of 4 rows, a queue of 16.
inline BatchingOptions SmallBatches() { return {.max_rows = 4, .max_queued_rows = 16}; }

}  // namespace mlpserve
