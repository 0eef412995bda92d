// The CUDA backend as it is, over a runtime that needs no GPU: lanes, buckets, graphs, completions
// and faults.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/batching/batch_threads.h"
#include "server/engine/cuda_backend.h"
#include "server/lifecycle/served_block.h"
#include "tests/kernels/cuda/fake/fake_cuda.h"

namespace mlpserve {
namespace {

using namespace std::chrono_literals;
using cuda::fake::CountAll;
using cuda::fake::CountCalls;

constexpr int64_t kFeatures = 8;

// Layers of FP32 that have neither bias nor epilogue; small whole numbers, so that sums are exact.
BlockSpec Block(int layers, int64_t features = kFeatures) {
  BlockSpec block{.name = "b"};
  for (int i = 0; i < layers; ++i) {
    LayerSpec layer{.name = "fc", .inputs = features, .outputs = features};
    std::vector<float> weight(static_cast<size_t>(features * features));
    for (size_t w = 0; w < weight.size(); ++w) weight[w] = static_cast<float>((w * 7 + 3) % 5) - 2;
    layer.weight = weight;
    block.layers.push_back(std::move(layer));
  }
  return block;
}

std::vector<float> Expected(const BlockSpec& block, std::vector<float> x) {
  const auto features = static_cast<size_t>(block.input_features());
  for (const LayerSpec& layer : block.layers) {
    const std::vector<float> weight = layer.weight.ToFloats().value();
    std::vector<float> y(x.size());
    for (size_t row = 0; row < x.size() / features; ++row) {
      for (size_t n = 0; n < features; ++n) {
        for (size_t k = 0; k < features; ++k) {
          y[row * features + n] += x[row * features + k] * weight[n * features + k];
        }
      }
    }
    x = std::move(y);
  }
  return x;
}

void WaitUntil(const std::function<bool()>& holds, const char* what) {
  const TimePoint deadline = Clock::now() + 20s;
  while (!holds()) {
    ASSERT_LT(Clock::now(), deadline) << what;
    std::this_thread::sleep_for(100us);
  }
}

struct Events final : BatchEvents {
  void OnInputRead(const BatchRun& /*run*/) override { ++reads; }
  void OnNearlyDone(const BatchRun& /*run*/) override { ++nears; }
  void OnDone(const BatchRun& /*run*/, const absl::Status& ended,
              const BatchTiming& timing) override {
    EXPECT_LE(timing.started, timing.infer_started);
    EXPECT_LE(timing.infer_started, timing.infer_ended);
    EXPECT_LE(timing.infer_ended, timing.done);
    status = absl::Status(ended.code(), ended.message());
    ++ends;
  }
  void OnLost(const BatchRun& /*run*/, const absl::Status& reason) override {
    status = absl::Status(reason.code(), reason.message());
    is_lost = true;
    ++ends;
  }
  void Wait() {
    WaitUntil([this] { return ends > 0; }, "the batch does not end");
    EXPECT_EQ(ends, 1);
  }

  std::atomic<int> reads{0}, nears{0}, ends{0};
  std::atomic<bool> is_lost{false};
  absl::Status status;  // once it has ended
};

class CudaBackendFakeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    spdlog::set_level(spdlog::level::warn);
    // What is loaded already is what the backend finds by this name.
    ASSERT_NE(dlopen(FAKE_NVRTC, RTLD_NOW | RTLD_GLOBAL), nullptr) << dlerror();
  }
  void SetUp() override { cuda::fake::Reset(); }
  void TearDown() override {
    backend_.reset();
    EXPECT_TRUE(CountAll().nothing()) << "something is not freed";
  }

  void Open(int lanes = 2) {
    auto opened = OpenCudaBackend({.kernels = cuda::KernelChoice::kPlain, .lanes = lanes});
    ASSERT_TRUE(opened.ok()) << opened.status();
    backend_ = std::move(opened->backend);
  }

  absl::StatusOr<std::unique_ptr<LoadedBlock>> TryLoad(const BlockSpec& block, int64_t max_rows) {
    auto placement = backend_->Prepare(block, {.max_rows = max_rows});
    if (!placement.ok()) return placement.status();
    return backend_->Load(block, *placement, {});
  }
  std::unique_ptr<LoadedBlock> Load(const BlockSpec& block, int64_t max_rows) {
    auto loaded = TryLoad(block, max_rows);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? *std::move(loaded) : nullptr;
  }

  // Rows that tell whose they are.
  static std::vector<float> Fill(LoadedBlock& loaded, const BatchRun& run, int64_t features,
                                 int seed) {
    std::vector<float> x(static_cast<size_t>(run.rows * features));
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>((i * 3 + static_cast<size_t>(seed)) % 7) - 3;
    }
    std::memcpy(loaded.input(run.slot).data(), x.data(), x.size() * sizeof(float));
    return x;
  }
  static std::vector<float> Output(LoadedBlock& loaded, const BatchRun& run, int64_t features) {
    std::vector<float> y(static_cast<size_t>(run.rows * features));
    std::memcpy(y.data(), loaded.output(run.output).data(), y.size() * sizeof(float));
    return y;
  }

  std::unique_ptr<Backend> backend_;
};

TEST_F(CudaBackendFakeTest, EveryNumberOfRowsComesBackOnEveryLane) {
  Open();
  const BlockSpec block = Block(3);
  const auto loaded = Load(block, 40);
  ASSERT_NE(loaded, nullptr);
  ASSERT_EQ(loaded->placement().lanes, 2);
  ASSERT_GE(loaded->placement().slots, 3);
  for (int64_t rows = 1; rows <= 40; ++rows) {
    for (int lane = 0; lane < 2; ++lane) {
      const BatchRun run{.slot = 2 - lane, .output = 1 + lane, .lane = lane, .rows = rows};
      const std::vector<float> x = Fill(*loaded, run, kFeatures, static_cast<int>(rows) + lane);
      Events events;
      loaded->Run(run, events);
      events.Wait();
      ASSERT_TRUE(events.status.ok()) << events.status;
      ASSERT_EQ(Output(*loaded, run, kFeatures), Expected(block, x)) << rows << " rows";
    }
  }
}

TEST_F(CudaBackendFakeTest, AGraphServesEveryBatchOfItsBucketAndLargeOnesTakeTheirOwnRows) {
  Open(1);
  const auto loaded = Load(Block(1), 600);
  ASSERT_NE(loaded, nullptr);
  struct Case {
    int64_t rows, computed;
    bool by_graph;
  };
  for (const Case& one : {Case{17, 24, true}, Case{24, 24, true}, Case{256, 256, true},
                          Case{257, 257, false}, Case{512, 512, true}, Case{599, 599, false}}) {
    const BatchRun run{.rows = one.rows};
    Fill(*loaded, run, kFeatures, 1);
    const auto before = CountCalls();
    Events events;
    loaded->Run(run, events);
    events.Wait();
    const auto after = CountCalls();
    EXPECT_EQ(after.product_rows - before.product_rows, one.computed) << one.rows;
    EXPECT_EQ(after.graph_launches - before.graph_launches, one.by_graph ? 1 : 0) << one.rows;
    EXPECT_EQ(after.launches - before.launches, one.by_graph ? 0 : 1) << one.rows;
  }
}

// 64 rows of 256 numbers are 64 KiB.
TEST_F(CudaBackendFakeTest, TheGraphOfFewBytesMovesTheBatchesOwnRowsAndIsAllThatIsLaunched) {
  Open(1);
  const int64_t features = 256;
  const BlockSpec block = Block(2, features);
  const auto loaded = Load(block, 256);
  ASSERT_NE(loaded, nullptr);
  for (const int64_t rows : {1, 33, 64, 65, 96, 256}) {
    const BatchRun run{.rows = rows};
    const std::vector<float> x = Fill(*loaded, run, features, static_cast<int>(rows));
    const std::span<std::byte> output = loaded->output(0);
    std::memset(output.data(), 0xff, output.size());
    const auto before = CountCalls();
    Events events;
    loaded->Run(run, events);
    events.Wait();
    const auto after = CountCalls();
    EXPECT_EQ(after.graph_launches - before.graph_launches, 1) << rows;
    EXPECT_EQ(after.launches, before.launches) << rows;
    EXPECT_EQ(after.copies - before.copies, rows <= 64 ? 0 : 2) << rows;
    EXPECT_EQ(Output(*loaded, run, features), Expected(block, x)) << rows;
    for (auto i = static_cast<size_t>(rows * features) * sizeof(float); i < output.size(); ++i) {
      ASSERT_EQ(output[i], std::byte{0xff}) << "byte " << i << " after " << rows << " rows";
    }
  }
}

TEST_F(CudaBackendFakeTest, LanesHoldTwoBatchesInFlight) {
  Open();
  const BlockSpec block = Block(2);
  const auto loaded = Load(block, 16);
  ASSERT_NE(loaded, nullptr);
  cuda::fake::HoldProducts(true);
  std::deque<Events> events(2);
  std::vector<std::vector<float>> x;
  for (int lane = 0; lane < 2; ++lane) {
    const BatchRun run{.slot = lane, .output = lane, .lane = lane, .rows = 5};
    x.push_back(Fill(*loaded, run, kFeatures, lane));
    loaded->Run(run, events[static_cast<size_t>(lane)]);
  }
  WaitUntil([] { return CountCalls().most_at_once == 2; }, "two are not computed at one time");
  EXPECT_EQ(events[0].ends + events[1].ends, 0);
  cuda::fake::HoldProducts(false);
  for (int lane = 0; lane < 2; ++lane) {
    const BatchRun run{.slot = lane, .output = lane, .lane = lane, .rows = 5};
    events[static_cast<size_t>(lane)].Wait();
    EXPECT_EQ(Output(*loaded, run, kFeatures), Expected(block, x[static_cast<size_t>(lane)]));
  }
}

TEST_F(CudaBackendFakeTest, ALargeBatchSaysThatItsInputWasReadAndASmallOneDoesNot) {
  Open(1);
  const int64_t features = 256;
  const BlockSpec block = Block(1, features);
  const auto loaded = Load(block, 256);
  ASSERT_NE(loaded, nullptr);
  for (const int64_t rows : {256, 16}) {
    cuda::fake::HoldProducts(true);
    const BatchRun run{.rows = rows};
    const std::vector<float> x = Fill(*loaded, run, features, 2);
    Events events;
    loaded->Run(run, events);
    if (rows == 256) {
      WaitUntil([&] { return events.reads == 1; }, "it is not said that the input was read");
      EXPECT_EQ(events.ends, 0);
      std::memset(loaded->input(0).data(), 0xff, loaded->input(0).size());
    }
    cuda::fake::HoldProducts(false);
    events.Wait();
    EXPECT_EQ(events.reads, rows == 256 ? 1 : 0);
    EXPECT_EQ(Output(*loaded, run, features), Expected(block, x));
  }
}

TEST_F(CudaBackendFakeTest, ABatchSaysThatItIsNearlyDoneByTheOneBeforeIt) {
  Open(1);
  const auto loaded = Load(Block(1), 16);
  ASSERT_NE(loaded, nullptr);
  const auto run_for = [&](Duration held, Events& events) {
    cuda::fake::HoldProducts(true);
    loaded->Run({.rows = 16}, events);
    std::this_thread::sleep_for(held);
  };
  Events first, second;
  run_for(20ms, first);
  EXPECT_EQ(first.nears, 0) << "nobody knows how long it takes";
  cuda::fake::HoldProducts(false);
  first.Wait();
  run_for(1ms, second);
  WaitUntil([&] { return second.nears == 1; }, "it is not said that the batch is nearly done");
  EXPECT_EQ(second.ends, 0);
  cuda::fake::HoldProducts(false);
  second.Wait();
}

TEST_F(CudaBackendFakeTest, ABatchThatCannotBeLaunchedFailsAloneAndItsLaneGoesOn) {
  Open();
  const int64_t features = 256;
  const BlockSpec block = Block(2, features);
  const auto loaded = Load(block, 128);
  ASSERT_NE(loaded, nullptr);
  struct Case {
    const char* function;
    int calls;  // of it in a batch
    int64_t rows;
  };
  for (const Case& one : {Case{"cudaEventRecord", 2, 9}, Case{"cudaGraphLaunch", 1, 9},
                          Case{"cudaEventRecord", 4, 128}, Case{"cudaGraphLaunch", 1, 128},
                          Case{"cudaMemcpyAsync", 2, 128}}) {
    const BatchRun run{.rows = one.rows};
    for (int calls = 0; calls < one.calls; ++calls) {
      cuda::fake::FailCall(one.function, cudaErrorInvalidValue, calls);
      Events failed;
      loaded->Run(run, failed);
      failed.Wait();
      EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal) << failed.status;
      EXPECT_FALSE(failed.is_lost);
      const std::vector<float> x = Fill(*loaded, run, features, calls);
      Events next;
      loaded->Run(run, next);
      next.Wait();
      EXPECT_TRUE(next.status.ok()) << next.status;
      EXPECT_EQ(Output(*loaded, run, features), Expected(block, x));
    }
  }
}

TEST_F(CudaBackendFakeTest, WithTheDeviceGoesEveryBatchThatIsInFlightOrComesLater) {
  Open();
  const auto loaded = Load(Block(2), 16);
  ASSERT_NE(loaded, nullptr);
  cuda::fake::HoldProducts(true);
  std::deque<Events> events(3);
  for (int lane = 0; lane < 2; ++lane) {
    loaded->Run({.slot = lane, .output = lane, .lane = lane, .rows = 4},
                events[static_cast<size_t>(lane)]);
  }
  cuda::fake::Lose(cudaErrorLaunchFailure);
  events[0].Wait();
  events[1].Wait();
  loaded->Run({.rows = 4}, events[2]);
  events[2].Wait();
  for (const Events& one : events) {
    EXPECT_TRUE(one.is_lost);
    EXPECT_EQ(one.status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(one.status.message().find("cudaErrorLaunchFailure"), std::string::npos) << one.status;
  }
}

TEST_F(CudaBackendFakeTest, ABlockThatDoesNotFitIsRefusedWithWhatItWantedAndOthersLoad) {
  cuda::fake::Reset({.memory_bytes = int64_t{1} << 19});
  Open();
  const auto refused = TryLoad(Block(4, 512), 64);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.status().message().find("1048576 bytes"), std::string::npos)
      << refused.status();
  EXPECT_TRUE(CountAll().nothing()) << "what it had is freed";
  EXPECT_NE(Load(Block(1), 64), nullptr);
}

// Whatever call fails, and whenever: the load fails with its code, and leaves nothing behind.
TEST_F(CudaBackendFakeTest, ALoadFailsWithWhateverFailsWithinItAndLeavesNothing) {
  Open();
  const BlockSpec block = Block(2);
  for (const char* function :
       {"cudaMalloc", "cudaHostAlloc", "cudaMemset", "cudaMemcpy", "cudaStreamCreateWithFlags",
        "cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphUpload",
        "cudaEventCreate", "cudaLibraryLoadData", "cudaLaunchKernelExC", "cudaStreamSynchronize",
        "cudaMemGetInfo"}) {
    int calls = 0;
    for (; calls < 1000; ++calls) {
      cuda::fake::FailCall(function, cudaErrorMemoryAllocation, calls);
      const auto loaded = TryLoad(block, 20);
      if (loaded.ok()) break;  // it makes fewer calls than that
      ASSERT_EQ(loaded.status().code(), absl::StatusCode::kResourceExhausted)
          << function << ", call " << calls << ": " << loaded.status();
      ASSERT_TRUE(CountAll().nothing()) << function << ", call " << calls;
    }
    EXPECT_GT(calls, 0) << function << " is never called";
    cuda::fake::Reset();
  }
}

TEST_F(CudaBackendFakeTest, ManyBatchesOnAllLanesOfTwoBlocksComeBack) {
  Open(3);
  const BlockSpec block = Block(2);
  const auto one = Load(block, 32);
  const auto other = Load(block, 32);
  ASSERT_TRUE(one != nullptr && other != nullptr);
  std::vector<std::jthread> threads;
  for (int lane = 0; lane < 3; ++lane) {
    for (LoadedBlock* loaded : {one.get(), other.get()}) {
      threads.emplace_back([loaded, lane, &block] {
        for (int i = 0; i < 100; ++i) {
          const BatchRun run{.slot = lane, .output = lane, .lane = lane, .rows = 1 + i % 32};
          const std::vector<float> x = Fill(*loaded, run, kFeatures, i + lane);
          Events events;
          loaded->Run(run, events);
          events.Wait();
          ASSERT_EQ(Output(*loaded, run, kFeatures), Expected(block, x));
        }
      });
    }
  }
}

// One of many clients', which knows its rows.
class Client final : public InferRequest {
 public:
  Client(const BlockSpec& block, int64_t count, int seed)
      : x_(static_cast<size_t>(count * block.input_features())) {
    for (size_t i = 0; i < x_.size(); ++i) {
      x_[i] = static_cast<float>((i * 5 + static_cast<size_t>(seed)) % 7) - 3;
    }
    rows = count;
    bytes_ = std::as_bytes(std::span<const float>(x_));
    input = {&bytes_, 1};
    expected_ = Expected(block, x_);
  }

  void OnDone(absl::Status answer, std::span<OutputRows> outputs) override {
    std::vector<std::byte> bytes;
    for (const OutputRows& part : outputs) {
      bytes.insert(bytes.end(), part.bytes.begin(), part.bytes.end());
    }
    own_rows = answer.ok() && bytes.size() == expected_.size() * sizeof(float) &&
               std::memcmp(bytes.data(), expected_.data(), bytes.size()) == 0;
    code = answer.code();
    done = true;
  }
  void Wait() const {
    WaitUntil([this] { return done.load(); }, "the request is not answered");
  }

  bool own_rows = false;
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::atomic<bool> done{false};

 private:
  std::vector<float> x_, expected_;
  std::span<const std::byte> bytes_;
};

class ServedByFakeTest : public CudaBackendFakeTest {
 protected:
  std::shared_ptr<ServedBlock> Serve(const BlockSpec& block, const BatchingOptions& options) {
    auto served = ServedBlock::Create({.backend = *backend_,
                                       .threads = threads_,
                                       .on_lost = [this](const absl::Status&) { ++lost_; }},
                                      block, options, {}, nullptr);
    EXPECT_TRUE(served.ok()) << served.status();
    return served.ok() ? std::shared_ptr<ServedBlock>(*std::move(served)) : nullptr;
  }

  BatchThreads threads_{{.runners = 1}};
  std::atomic<int> lost_{0};
};

TEST_F(ServedByFakeTest, ManyClientsGetTheirOwnRows) {
  Open();
  const BlockSpec block = Block(2);
  const auto served = Serve(block, {.max_rows = 32});
  ASSERT_NE(served, nullptr);
  const auto sink = ServedBlock::Sink(served);
  std::vector<std::jthread> clients;
  for (int c = 0; c < 6; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 60; ++i) {
        Client client(block, 1 + (i * 7 + c) % 80, i + c);  // also more than one batch holds
        sink->Submit(client);
        client.Wait();
        ASSERT_TRUE(client.own_rows) << "client " << c << ", request " << i;
      }
    });
  }
}

TEST_F(ServedByFakeTest, WhileABatchComputesRowsGatherInOneThatFollowsIt) {
  Open();
  const BlockSpec block = Block(1);
  const auto served = Serve(block, {.max_rows = 32});
  ASSERT_NE(served, nullptr);
  const auto sink = ServedBlock::Sink(served);
  cuda::fake::HoldProducts(true);
  const int64_t before = CountCalls().graph_launches;
  std::deque<Client> clients;
  for (int i = 0; i < 9; ++i) sink->Submit(clients.emplace_back(block, 1, i));
  cuda::fake::HoldProducts(false);
  for (const Client& client : clients) client.Wait();
  for (const Client& client : clients) EXPECT_TRUE(client.own_rows);
  EXPECT_EQ(CountCalls().graph_launches - before, 2) << "though a second lane was idle";
}

TEST_F(ServedByFakeTest, WhoWaitsForADeviceThatIsLostIsToldSoAndSoIsTheServer) {
  Open();
  const BlockSpec block = Block(1);
  const auto served = Serve(block, {.max_rows = 4});
  ASSERT_NE(served, nullptr);
  const auto sink = ServedBlock::Sink(served);
  cuda::fake::HoldProducts(true);
  std::deque<Client> clients;
  for (int i = 0; i < 40; ++i) sink->Submit(clients.emplace_back(block, 1, i));
  const TimePoint lost = Clock::now();
  cuda::fake::Lose(cudaErrorIllegalAddress);
  for (const Client& client : clients) client.Wait();
  EXPECT_LT(Clock::now() - lost, 1s);
  for (const Client& client : clients) EXPECT_EQ(client.code, absl::StatusCode::kUnavailable);
  EXPECT_GE(lost_, 1);
}

}  // namespace
}  // namespace mlpserve
