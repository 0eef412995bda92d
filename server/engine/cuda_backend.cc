#include "server/engine/cuda_backend.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/lane.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/plan/block_plan.h"
#include "kernels/cuda/plan/kernel_table.h"
#include "kernels/status/status_macros.h"
#include "server/engine/completion_watch.h"
#include "server/engine/cuda_lane_batch.h"
#include "server/machine/limits.h"

namespace mlpserve {
namespace {

using cuda::PinnedMemory;
using Lanes = std::vector<std::unique_ptr<cuda::Lane>>;

// One looks while the others tell: answers of a batch are sent by the thread that tells of its end,
// which takes far longer than the batch where it is of many small requests. They sleep where there
// is nothing to tell.
int WatchThreads() { return std::clamp(UsableProcessors() / 2, 2, 8); }

absl::Status Allocate(int count, int64_t bytes, std::vector<PinnedMemory>& buffers) {
  for (int i = 0; i < count; ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(PinnedMemory buffer,
                              PinnedMemory::Allocate(static_cast<size_t>(bytes)));
    buffers.push_back(std::move(buffer));
  }
  return absl::OkStatus();
}

class CudaLoadedBlock final : public LoadedBlock {
 public:
  CudaLoadedBlock(Lanes lanes, Placement placement, std::vector<PinnedMemory> inputs,
                  std::vector<PinnedMemory> outputs, CompletionWatch& watch)
      : placement_(std::move(placement)), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {
    for (std::unique_ptr<cuda::Lane>& lane : lanes) {
      lanes_.push_back(std::make_unique<CudaLaneBatch>(std::move(lane), watch));
    }
  }

  const Placement& placement() const override { return placement_; }
  int64_t Bucket(int64_t rows) const override {
    const cuda::BlockPlan& plan = block().plan();
    return plan.buckets[plan.BucketOf(rows)];
  }
  std::span<std::byte> input(int slot) override { return Span(inputs_[static_cast<size_t>(slot)]); }
  std::span<std::byte> output(int buffer) override {
    return Span(outputs_[static_cast<size_t>(buffer)]);
  }
  int64_t ready_rows() const override { return placement_.max_rows; }
  void Grow() override {}

  std::vector<KernelVariant> variants() const override {
    std::vector<KernelVariant> variants;
    for (const cuda::KernelRow& row : block().kernels()) {
      variants.push_back({.layer = row.layer, .bucket = row.bucket, .variant = row.variant});
    }
    return variants;
  }

  BlockMemory memory() const override {
    const int64_t buffers = Bytes(inputs_) + Bytes(outputs_);  // page-locked, so all there
    return {.buffers = buffers, .buffers_reserved = buffers, .device = DeviceBytes()};
  }

  void Run(const BatchRun& run, BatchEvents& events) override {
    lanes_[static_cast<size_t>(run.lane)]->Start(run, input(run.slot).data(),
                                                 output(run.output).data(), events);
  }

 private:
  static std::span<std::byte> Span(const PinnedMemory& buffer) {
    return {buffer.get(), buffer.size()};
  }
  static int64_t Bytes(const std::vector<PinnedMemory>& buffers) {
    int64_t bytes = 0;
    for (const PinnedMemory& buffer : buffers) bytes += static_cast<int64_t>(buffer.size());
    return bytes;
  }

  const cuda::DeviceBlock& block() const { return lanes_.front()->lane().block(); }
  // Of the chosen kernels: never more than what was planned.
  int64_t DeviceBytes() const {
    return block().shared_bytes() + static_cast<int64_t>(lanes_.size()) * block().lane().total();
  }

  const Placement placement_;
  const std::vector<PinnedMemory> inputs_;
  const std::vector<PinnedMemory> outputs_;
  std::vector<std::unique_ptr<CudaLaneBatch>> lanes_;  // at least one; all of one block
};

double Seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(CudaBackendOptions options, cuda::KernelCompiler compiler, cuda::Device device,
              std::shared_ptr<const cuda::CublasLt> library)
      : options_(std::move(options)),
        store_(std::move(compiler), std::move(device)),
        library_(std::move(library)) {}

  std::string_view name() const override { return "cuda"; }

  std::vector<std::string> devices() const override {
    const cuda::Device& device = store_.device();
    return {absl::StrCat(device.name, " (", device.limits.arch, ", ", device.memory_bytes >> 30,
                         " GiB)")};
  }

  absl::StatusOr<Placement> Prepare(const BlockSpec& block,
                                    const BatchingOptions& options) const override;
  absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                    const Placement& placement,
                                                    const LoadControl& control) override;

 private:
  cuda::PlanOptions PlanOptionsFor(const Placement& placement) const {
    return {.max_rows = placement.max_rows,
            .buckets = placement.buckets,
            .choice = options_.kernels,
            .has_library = library_ != nullptr};
  }

  const CudaBackendOptions options_;
  cuda::KernelStore store_;
  const std::shared_ptr<const cuda::CublasLt> library_;  // may be null
  CompletionWatch watch_{WatchThreads()};
};

absl::StatusOr<Placement> CudaBackend::Prepare(const BlockSpec& block,
                                               const BatchingOptions& options) const {
  Placement placement{.devices = devices(),
                      .lanes = options_.lanes,
                      .lanes_per_device = options_.lanes,
                      .slots = options_.lanes + 1,
                      .max_rows = options.max_rows,
                      .buckets = options.buckets,
                      .runs_inline = false};
  MLPSERVE_RETURN_IF_ERROR(Check(placement));
  placement.host_bytes = BufferBytes(block, placement);
  cuda::PlanOptions plan_options = PlanOptionsFor(placement);
  plan_options.reads_weights = false;
  const cuda::BlockPlan plan = cuda::PlanBlock(block, store_.limits(), plan_options);
  placement.device_bytes = plan.shared_bytes() + placement.lanes * plan.lane_bytes();
  return placement;
}

absl::Status StoppedIfAsked(const LoadControl& control, const std::string& block) {
  if (!control.stop.stop_requested()) return absl::OkStatus();
  return absl::CancelledError(absl::StrCat("loading block \"", block, "\" was stopped"));
}

absl::StatusOr<std::unique_ptr<LoadedBlock>> CudaBackend::Load(const BlockSpec& block,
                                                               const Placement& placement,
                                                               const LoadControl& control) {
  MLPSERVE_RETURN_IF_ERROR(Check(placement));
  MLPSERVE_RETURN_IF_ERROR(StoppedIfAsked(control, block.name));
  const auto progress = [&control](const char* step, int64_t done, int64_t total) {
    if (control.progress) control.progress({.step = step, .done = done, .total = total});
  };
  MLPSERVE_ASSIGN_OR_RETURN(
      Lanes lanes, cuda::LoadLanes(block,
                                   {.plan = PlanOptionsFor(placement),
                                    .device = {.tuning_directory = options_.cache_directory,
                                               .library = library_,
                                               .may_measure = control.may_measure,
                                               .stop = control.stop,
                                               .progress = progress},
                                    .lanes = placement.lanes},
                                   store_));
  MLPSERVE_RETURN_IF_ERROR(StoppedIfAsked(control, block.name));
  const cuda::DeviceBlock& loaded = lanes.front()->block();
  spdlog::debug("kernels of {}:\n{}", block.name, cuda::ToString(loaded.kernels()));
  const TimePoint begin = Clock::now();
  std::vector<PinnedMemory> inputs;
  std::vector<PinnedMemory> outputs;
  MLPSERVE_RETURN_IF_ERROR(Allocate(placement.slots, loaded.plan().slot_bytes(), inputs));
  MLPSERVE_RETURN_IF_ERROR(Allocate(placement.outputs, loaded.plan().output_bytes(), outputs));
  const cuda::LoadTimes& times = loaded.load_times();
  spdlog::info(
      "block {}: copied weights in {:.2f} s, made kernels in {:.2f} s, measured them in "
      "{:.2f} s, locked host memory in {:.2f} s",
      block.name, Seconds(times.weights), Seconds(times.kernels), Seconds(times.measuring),
      Seconds(Clock::now() - begin));
  int64_t graph_bytes = 0;
  for (const auto& lane : lanes) graph_bytes += lane->graph_bytes();
  spdlog::info(
      "block {}: {} lanes, each with graphs for {} buckets, {} KiB of device memory in all",
      block.name, lanes.size(), loaded.plan().buckets.size(), graph_bytes >> 10);
  return std::make_unique<CudaLoadedBlock>(std::move(lanes), placement, std::move(inputs),
                                           std::move(outputs), watch_);
}

void LogTrim(const cuda::CacheTrim& trim) {
  spdlog::info("kernel cache: removed the {} entries not used for longest, {} KiB; {} KiB are left",
               trim.entries, trim.bytes >> 10, trim.bytes_left >> 10);
}

}  // namespace

absl::StatusOr<OpenedCudaBackend> OpenCudaBackend(const CudaBackendOptions& options) {
  if (options.lanes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at least one lane, found ", options.lanes));
  }
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<cuda::Device> devices, cuda::FindDevices());
  const cuda::Device& device = devices.front();
  const auto nvrtc = cuda::Nvrtc::Open();
  if (!nvrtc.ok()) return absl::NotFoundError(nvrtc.status().message());
  if (!(*nvrtc)->Supports(device.limits.arch)) {
    return absl::NotFoundError(absl::StrCat("expected an NVRTC that compiles for ",
                                            device.limits.arch, ", found ", (*nvrtc)->version()));
  }
  std::optional<cuda::KernelCache> cache;
  if (!options.cache_directory.empty()) {
    MLPSERVE_ASSIGN_OR_RETURN(
        cache, cuda::KernelCache::Open(options.cache_directory, {.on_trim = LogTrim}));
  }
  MLPSERVE_RETURN_IF_ERROR(cuda::Use(device));
  auto library = cuda::CublasLt::Open();
  return OpenedCudaBackend{.backend = std::make_unique<CudaBackend>(
                               options, cuda::KernelCompiler(*nvrtc, std::move(cache)), device,
                               library.ok() ? *library : nullptr),
                           .devices = {device},
                           .library = library.status()};
}

}  // namespace mlpserve
