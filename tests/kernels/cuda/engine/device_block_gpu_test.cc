// Device block and lanes on a GPU: what lanes share, by the memory that the device reports, what
// they do not, and loads that may not measure or are stopped. Skips itself without a GPU.
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/lane.h"
#include "kernels/cuda/engine/measurer.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/plan/block_plan.h"
#include "kernels/spec/rounding.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

class DeviceBlockTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto devices = FindDevices();
    if (!devices.ok()) GTEST_SKIP() << devices.status();
    const auto nvrtc = Nvrtc::Open();
    if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
    auto cache = KernelCache::Open(testing::TempDir() + "device_block_gpu_test");
    ASSERT_TRUE(cache.ok()) << cache.status();
    store_ =
        std::make_unique<KernelStore>(KernelCompiler(*nvrtc, *std::move(cache)), devices->front());
    ASSERT_TRUE(Use(devices->front()).ok());
    auto library = CublasLt::Open();
    if (library.ok()) library_ = *library;
  }

  // Features x features, weights of N(0, 1 / features).
  static BlockSpec Block(int layers, int64_t features, ComputeType compute,
                         std::vector<Op> ops = {}) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(features)));
    BlockSpec block{.name = "b", .compute = compute};
    for (int i = 0; i < layers; ++i) {
      LayerSpec layer{.name = "fc", .inputs = features, .outputs = features};
      std::vector<float> weight(static_cast<size_t>(features * features));
      for (float& w : weight) w = normal(random);
      layer.weight = weight;
      layer.epilogue.ops = ops;
      block.layers.push_back(std::move(layer));
    }
    return block;
  }

  absl::StatusOr<std::vector<std::unique_ptr<Lane>>> Load(
      const BlockSpec& block, int lanes, int64_t max_rows, DeviceBlockOptions device = {},
      Launching launching = Launching::kGraphs) {
    device.library = library_;
    return LoadLanes(block,
                     {.plan = {.max_rows = max_rows, .has_library = library_ != nullptr},
                      .device = device,
                      .lanes = lanes,
                      .launching = launching},
                     *store_);
  }

  static int64_t FreeBytes() {
    size_t free = 0;
    size_t total = 0;
    EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    return static_cast<int64_t>(free);
  }

  std::unique_ptr<KernelStore> store_;
  std::shared_ptr<const CublasLt> library_;
};

// One batch's rows on the host, page-locked.
struct Batch {
  Batch(int64_t count, int64_t features, unsigned seed) : rows(count) {
    const auto bytes = static_cast<size_t>(count * features) * sizeof(float);
    input = *PinnedMemory::Allocate(bytes);
    output = *PinnedMemory::Allocate(bytes);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    auto* x = reinterpret_cast<float*>(input.get());
    for (int64_t i = 0; i < count * features; ++i) x[i] = normal(random);
  }

  absl::Status RunOn(Lane& lane) { return lane.Run(input.get(), output.get(), rows).status(); }
  std::string result() const {
    return {reinterpret_cast<const char*>(output.get()), output.size()};
  }

  int64_t rows;
  PinnedMemory input, output;
};

TEST_F(DeviceBlockTest, TwoLanesHoldOneCopyOfTheWeights) {
  const BlockSpec block = Block(4, 4096, ComputeType::kFp32);  // 256 MiB of weights
  auto lanes = Load(block, 1, 64, {.may_measure = false});
  ASSERT_TRUE(lanes.ok()) << lanes.status();
  const DeviceBlock& shared = lanes->front()->block();
  const int64_t weights = int64_t{sizeof(float)} * 4 * 4096 * 4096;
  EXPECT_GE(shared.shared_bytes(), weights);
  EXPECT_LE(shared.shared_bytes(), shared.plan().shared_bytes());
  EXPECT_LE(shared.lane().total(), shared.plan().lane_bytes());

  const int64_t before = FreeBytes();
  // A second lane as the backend makes it: of the same block.
  auto two = Load(block, 2, 64, {.may_measure = false});
  ASSERT_TRUE(two.ok()) << two.status();
  const int64_t of_two = before - FreeBytes();
  two->pop_back();
  const int64_t of_one = before - FreeBytes();
  const int64_t of_second = of_two - of_one;
  EXPECT_GE(of_one, weights) << "the weights are there";
  EXPECT_LE(of_second, shared.lane().total() + 32 * kMiB) << "and not a second time";
  EXPECT_LT(of_second, weights / 2);
}

// The plan that the backend's Prepare makes: without a look at the weights.
TEST_F(DeviceBlockTest, ALoadTakesNoMoreOfTheDeviceThanThePlanSaysBefore) {
  constexpr int kLanes = 2;
  constexpr int64_t kBeside = 64 * kMiB;  // kernels' code, streams, graphs; told by nobody
  for (const ComputeType compute : {ComputeType::kFp32, ComputeType::kBf16}) {
    const BlockSpec block = Block(4, 4096, compute);
    const BlockPlan plan =
        PlanBlock(block, store_->limits(),
                  {.max_rows = 4096, .has_library = library_ != nullptr, .reads_weights = false});
    const int64_t planned = plan.shared_bytes() + kLanes * plan.lane_bytes();
    const int64_t before = FreeBytes();
    const auto lanes = Load(block, kLanes, 4096, {.may_measure = false});
    ASSERT_TRUE(lanes.ok()) << lanes.status();
    const int64_t took = before - FreeBytes();
    EXPECT_LE(took, planned + kBeside) << planned;
    const DeviceBlock& shared = lanes->front()->block();
    EXPECT_GE(took, shared.shared_bytes() + kLanes * shared.lane().total());
  }
}

TEST_F(DeviceBlockTest, ABlockThatDoesNotFitIsRefusedWithWhatThereIsAndAnotherRuns) {
  const auto taken = DeviceMemory::Allocate(static_cast<size_t>(FreeBytes() - 200 * kMiB));
  ASSERT_TRUE(taken.ok()) << taken.status();
  const auto refused = Load(Block(4, 4096, ComputeType::kFp32), 1, 64, {.may_measure = false});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()),
              testing::MatchesRegex("cudaMalloc: .*, for [0-9]+ bytes; [0-9]+ of [0-9]+ are free"));
  auto lanes = Load(Block(1, 512, ComputeType::kBf16), 1, 64, {.may_measure = false});
  ASSERT_TRUE(lanes.ok()) << lanes.status();
  EXPECT_TRUE(Batch(64, 512, 1).RunOn(*lanes->front()).ok());
}

TEST_F(DeviceBlockTest, LanesThatRunAtOneTimeDoNotSeeEachOther) {
  for (const std::vector<Op>& ops :
       {std::vector<Op>{{Pointwise{.function = Function::kGeluTanh}}},
        std::vector<Op>{{BatchNorm{}}, {Pointwise{.function = Function::kSilu}}}}) {
    // More rows than a batch norm holds in shared memory, so that it writes its vectors.
    const int64_t rows = ops.size() == 1 ? 200 : 8000;
    auto lanes = Load(Block(2, 512, ComputeType::kBf16, ops), 2, rows, {.may_measure = false});
    ASSERT_TRUE(lanes.ok()) << lanes.status();
    std::vector<Batch> batches;
    std::vector<std::string> alone;
    for (uint32_t i = 0; i < 2; ++i) {
      batches.emplace_back(rows - int64_t{3} * i, 512, i + 1);
      ASSERT_TRUE(batches[i].RunOn(*(*lanes)[i]).ok());
      alone.push_back(batches[i].result());
    }
    ASSERT_NE(alone[0], alone[1]);
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        for (int run = 0; run < 50; ++run) {
          const absl::Status status = batches[i].RunOn(*(*lanes)[i]);
          ASSERT_TRUE(status.ok()) << status;
          ASSERT_EQ(batches[i].result(), alone[i]) << "lane " << i << ", run " << run;
        }
      });
    }
  }
}

TEST_F(DeviceBlockTest, BothLanesComputeTheSameBitsForTheSameRows) {
  auto lanes = Load(Block(3, 300, ComputeType::kFp32), 2, 40);
  ASSERT_TRUE(lanes.ok()) << lanes.status();
  Batch batch(40, 300, 3);
  for (const int64_t rows : {40, 1, 39, 7}) {
    batch.rows = rows;
    ASSERT_TRUE(batch.RunOn(*(*lanes)[0]).ok());
    const std::string first = batch.result();
    std::memset(batch.output.get(), 0xff, batch.output.size());
    ASSERT_TRUE(batch.RunOn(*(*lanes)[1]).ok());
    const size_t used = static_cast<size_t>(rows) * 300 * sizeof(float);
    EXPECT_EQ(batch.result().substr(0, used), first.substr(0, used)) << rows;
  }
}

// Rows that fill their bucket, that are padded, and that are told to every step.
TEST_F(DeviceBlockTest, AGraphHasTheBitsOfItsSteps) {
  for (const std::vector<Op>& ops :
       {std::vector<Op>{{Pointwise{.function = Function::kGeluTanh}}},
        std::vector<Op>{{BatchNorm{}}, {Pointwise{.function = Function::kSilu}}}}) {
    for (const ComputeType compute : {ComputeType::kBf16, ComputeType::kFp32}) {
      const BlockSpec block = Block(3, 300, compute, ops);
      auto graphs = Load(block, 1, 700, {.may_measure = false});
      auto steps = Load(block, 1, 700, {.may_measure = false}, Launching::kStepByStep);
      ASSERT_TRUE(graphs.ok() && steps.ok()) << graphs.status() << steps.status();
      Batch batch(700, 300, 3);
      for (const int64_t rows : {700, 2, 3, 17, 24, 100, 255, 256, 257, 512, 699}) {
        batch.rows = rows;
        const size_t used = static_cast<size_t>(rows) * 300 * sizeof(float);
        ASSERT_TRUE(batch.RunOn(*(*graphs)[0]).ok());
        const std::string of_graph = batch.result().substr(0, used);
        std::memset(batch.output.get(), 0xff, batch.output.size());
        ASSERT_TRUE(batch.RunOn(*(*steps)[0]).ok());
        EXPECT_EQ(of_graph, batch.result().substr(0, used)) << rows << " rows";
      }
    }
  }
}

TEST_F(DeviceBlockTest, WhatALargerBatchLeftBehindChangesNoRow) {
  auto lanes = Load(Block(2, 256, ComputeType::kFp32), 1, 64, {.may_measure = false});
  ASSERT_TRUE(lanes.ok()) << lanes.status();
  Batch batch(17, 256, 3);
  ASSERT_TRUE(batch.RunOn(*(*lanes)[0]).ok());
  const std::string clean = batch.result();
  Batch nan(24, 256, 4);  // of the same bucket
  std::memset(nan.input.get(), 0xff, nan.input.size());
  ASSERT_TRUE(nan.RunOn(*(*lanes)[0]).ok());
  ASSERT_TRUE(batch.RunOn(*(*lanes)[0]).ok());
  EXPECT_EQ(batch.result(), clean);
}

TEST_F(DeviceBlockTest, InputThatWasReadMayBeWrittenWhileItsBatchRuns) {
  auto lanes = Load(Block(8, 2048, ComputeType::kFp32), 1, 1024, {.may_measure = false});
  ASSERT_TRUE(lanes.ok()) << lanes.status();
  Lane& lane = *(*lanes)[0];
  Batch batch(1024, 2048, 3);
  ASSERT_TRUE(batch.RunOn(lane).ok());
  const std::string expected = batch.result();
  for (int round = 0; round < 5; ++round) {
    Batch again(1024, 2048, 3);
    ASSERT_TRUE(lane.Start(again.input.get(), again.output.get(), again.rows).ok());
    while (!lane.InputRead().value()) {
    }
    EXPECT_FALSE(lane.Done().value()) << "there are 8 layers to compute";
    std::memset(again.input.get(), 0xff, again.input.size());
    while (!lane.Done().value()) {
    }
    EXPECT_EQ(again.result(), expected) << round;
    const auto times = lane.Times();
    ASSERT_TRUE(times.ok()) << times.status();
    EXPECT_GT(times->compute.count(), 0);
  }
}

TEST_F(DeviceBlockTest, ALoadThatMayNotMeasureTakesWhatWasMeasuredBeforeAndElseTheEstimate) {
  const std::string records = testing::TempDir() + "device_block_records";
  std::filesystem::remove_all(records);
  std::filesystem::create_directories(records);
  const BlockSpec block = Block(1, 1024, ComputeType::kBf16);
  const auto rows = [](const auto& lanes) { return (*lanes)[0]->block().kernels(); };

  auto estimated = Load(block, 1, 64, {.tuning_directory = records, .may_measure = false});
  ASSERT_TRUE(estimated.ok()) << estimated.status();
  EXPECT_EQ((*estimated)[0]->block().load_times().measuring.count(), 0);
  for (const KernelRow& row : rows(estimated)) EXPECT_EQ(row.us, 0) << row.variant;

  auto measured = Load(block, 1, 64, {.tuning_directory = records});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_GT((*measured)[0]->block().load_times().measuring.count(), 0);

  auto recorded = Load(block, 1, 64, {.tuning_directory = records, .may_measure = false});
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  ASSERT_EQ(rows(recorded).size(), rows(measured).size());
  for (size_t i = 0; i < rows(recorded).size(); ++i) {
    EXPECT_EQ(rows(recorded)[i].variant, rows(measured)[i].variant) << i;
    EXPECT_NEAR(rows(recorded)[i].us, rows(measured)[i].us, 1e-3) << i;
  }
}

TEST_F(DeviceBlockTest, AKindOfLayerIsMeasuredOnce) {
  auto one = Load(Block(2, 1024, ComputeType::kBf16), 1, 64);
  auto many = Load(Block(9, 1024, ComputeType::kBf16), 1, 64);
  ASSERT_TRUE(one.ok() && many.ok());
  // The last layer stores FP32: two kinds in both.
  const auto took = [](const auto& lanes) {
    return static_cast<double>((*lanes)[0]->block().load_times().measuring.count());
  };
  EXPECT_LT(took(many), 3 * took(one));
}

TEST_F(DeviceBlockTest, ALoadThatIsStoppedEnds) {
  std::stop_source stop;
  std::vector<std::string> steps;
  const auto progress = [&](const char* step, int64_t done, int64_t total) {
    steps.emplace_back(step);
    EXPECT_LT(done, total);
    if (done == 1) stop.request_stop();
  };
  const auto lanes = Load(Block(3, 64, ComputeType::kBf16), 1, 64,
                          {.stop = stop.get_token(), .progress = progress});
  EXPECT_EQ(lanes.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(steps, std::vector<std::string>(2, "copying weights"));
}

TEST_F(DeviceBlockTest, KernelsAreMeasuredOnNormalNumbers) {
  for (const DataType type : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    const RowsPlan rows{.buffer = Buffer::kInput, .features = 1000, .stride = 1000, .type = type};
    BufferBytes bytes;
    bytes[Buffer::kInput] = rows.bytes(700);
    const auto memory = LaneMemory::Allocate(bytes);
    ASSERT_TRUE(memory.ok()) << memory.status();
    ASSERT_TRUE(FillNormal(rows, *memory).ok());
    std::vector<std::byte> values(static_cast<size_t>(rows.bytes(700)));
    ASSERT_EQ(cudaMemcpy(values.data(), memory->at(rows), values.size(), cudaMemcpyDeviceToHost),
              cudaSuccess);
    double sum = 0;
    double squares = 0;
    const size_t count = values.size() / ByteSize(type);
    for (size_t i = 0; i < count; ++i) {
      const double value = ReadElement(type, &values[i * ByteSize(type)]);
      sum += value;
      squares += value * value;
    }
    EXPECT_NEAR(sum / static_cast<double>(count), 0, 0.02);
    EXPECT_NEAR(squares / static_cast<double>(count), 1, 0.02);
  }
}

}  // namespace
}  // namespace mlpserve::cuda
