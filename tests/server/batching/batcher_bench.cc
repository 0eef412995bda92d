// What the batcher itself costs: the backend computes nothing.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "server/batching/batcher.h"

namespace mlpserve {
namespace {

constexpr int64_t kRowBytes = 256;  // 64 features in FP32
constexpr int64_t kMaxRows = 1024;

class Request final : public InferRequest {
 public:
  explicit Request(int64_t count) : bytes_(static_cast<size_t>(count * kRowBytes)), span_(bytes_) {
    rows = count;
    input = {&span_, 1};
  }
  void OnDone(absl::Status status, std::span<OutputRows> outputs) override {
    if (!status.ok() || outputs.size() != 1) std::abort();
    benchmark::DoNotOptimize(outputs[0].bytes.data());
  }

 private:
  std::vector<std::byte> bytes_;
  std::span<const std::byte> span_;
};

// Ends each batch at once, or keeps them all.
struct Runner final : BatchRunner {
  explicit Runner(bool keeps_batches) : keeps(keeps_batches) {}
  void Run(const BatchRun& run, BatchEvents& events) override {
    if (keeps) {
      running.emplace_back(run, &events);
    } else {
      events.OnDone(run, absl::OkStatus(), {});
    }
  }
  int64_t ready_rows() const override { return kMaxRows; }
  void Grow() override {}

  const bool keeps;
  std::vector<std::pair<BatchRun, BatchEvents*>> running;
};

struct Bench {
  explicit Bench(bool keeps_batches = false) : runner(keeps_batches) {
    BatchBuffers buffers = {.slots = {},
                            .outputs = {},
                            .input_row_bytes = kRowBytes,
                            .output_row_bytes = kRowBytes,
                            .lanes = 1,
                            .runs_inline = !runner.keeps};
    for (auto& slot : slots) buffers.slots.emplace_back(slot);
    for (auto& output : outputs) buffers.outputs.emplace_back(output);
    batcher =
        *Batcher::Create({.max_rows = kMaxRows}, std::move(buffers), runner, threads, nullptr);
  }

  std::vector<std::vector<std::byte>> slots{3, std::vector<std::byte>(kMaxRows* kRowBytes)};
  std::vector<std::vector<std::byte>> outputs{6, std::vector<std::byte>(kMaxRows* kRowBytes)};
  Runner runner;
  BatchThreads threads{{.runners = 2}};
  std::unique_ptr<Batcher> batcher;
};

// One thread, nothing else: the overhead of a request, and the copy of its rows.
void BM_Uncontended(benchmark::State& state) {
  Bench bench;
  Request request(state.range(0));
  for (auto _ : state) bench.batcher->Submit(request);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Uncontended)->Arg(1)->Arg(16)->Arg(256);

// With a deadline, as gRPC calls have: it must cost nothing while nothing waits.
void BM_UncontendedWithDeadline(benchmark::State& state) {
  Bench bench;
  Request request(1);
  request.deadline = Clock::now() + std::chrono::hours(1);
  for (auto _ : state) bench.batcher->Submit(request);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_UncontendedWithDeadline);

// An asynchronous backend with one lane: while a batch of one row runs, `count` requests of one row
// fill slots and wait beyond them; then all run. Per request, on one thread.
void BM_Batched(benchmark::State& state) {
  Bench bench(/*keeps_batches=*/true);
  const int64_t count = state.range(0);
  std::vector<std::unique_ptr<Request>> requests;
  for (int64_t i = 0; i <= count; ++i) requests.push_back(std::make_unique<Request>(1));
  for (auto _ : state) {
    for (const auto& request : requests) bench.batcher->Submit(*request);
    while (!bench.runner.running.empty()) {
      const auto [run, events] = bench.runner.running.back();
      bench.runner.running.pop_back();
      events->OnDone(run, absl::OkStatus(), {});
    }
  }
  state.SetItemsProcessed(state.iterations() * (count + 1));
}
BENCHMARK(BM_Batched)->Arg(16)->Arg(128)->Arg(1024)->Arg(16384);

// Several threads on one batcher.
void BM_Contended(benchmark::State& state) {
  static Bench* bench = nullptr;
  if (state.thread_index() == 0) bench = new Bench();
  Request request(1);
  struct Waiting final : InferRequest {
    explicit Waiting(const Request& like) {
      rows = like.rows;
      input = like.input;
    }
    void OnDone(absl::Status, std::span<OutputRows>) override {
      done.store(true, std::memory_order_release);
    }
    std::atomic<bool> done{false};
  } waiting(request);
  for (auto _ : state) {
    waiting.done.store(false, std::memory_order_relaxed);
    bench->batcher->Submit(waiting);
    while (!waiting.done.load(std::memory_order_acquire)) std::this_thread::yield();
  }
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() == 0) {
    bench->batcher->Drain();
    delete bench;
  }
}
BENCHMARK(BM_Contended)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace mlpserve

BENCHMARK_MAIN();
