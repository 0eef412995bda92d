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
#include "kernels/cuda/engine/cuda_block.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

using cuda::PinnedMemory;

absl::Status Allocate(int count, int64_t bytes, std::vector<PinnedMemory>& buffers) {
  for (int i = 0; i < count; ++i) {
    absl::StatusOr<PinnedMemory> buffer = PinnedMemory::Allocate(static_cast<size_t>(bytes));
    if (!buffer.ok()) return buffer.status();
    buffers.push_back(*std::move(buffer));
  }
  return absl::OkStatus();
}

class CudaLoadedBlock final : public LoadedBlock {
 public:
  CudaLoadedBlock(std::unique_ptr<cuda::CudaBlock> block, Placement placement,
                  std::vector<PinnedMemory> inputs, std::vector<PinnedMemory> outputs)
      : block_(std::move(block)),
        placement_(std::move(placement)),
        inputs_(std::move(inputs)),
        outputs_(std::move(outputs)) {}

  const Placement& placement() const override { return placement_; }
  int64_t Bucket(int64_t rows) const override { return block_->Bucket(rows); }
  std::span<std::byte> input(int slot) override { return Span(inputs_[static_cast<size_t>(slot)]); }
  std::span<std::byte> output(int buffer) override {
    return Span(outputs_[static_cast<size_t>(buffer)]);
  }
  int64_t ready_rows() const override { return placement_.max_rows; }
  void Grow() override {}

  std::vector<KernelVariant> variants() const override {
    std::vector<KernelVariant> variants;
    for (const cuda::PlanRow& row : block_->plan()) {
      variants.push_back({.layer = row.layer, .bucket = row.bucket, .variant = row.variant});
    }
    return variants;
  }

  BlockMemory memory() const override {
    const int64_t buffers = Bytes(inputs_) + Bytes(outputs_);  // page-locked, so all there
    return {.buffers = buffers, .buffers_reserved = buffers, .device = placement_.device_bytes};
  }

  void Run(const BatchRun& run, BatchEvents& events) override {
    BatchTiming timing;
    timing.started = timing.infer_started = timing.infer_ended = Clock::now();
    const absl::StatusOr<cuda::RunTimes> took =
        block_->Run(input(run.slot).data(), output(run.output).data(), run.rows);
    timing.done = Clock::now();
    if (absl::IsUnavailable(took.status())) {
      events.OnLost(run, took.status());
      return;
    }
    if (took.ok()) {
      // The device's clock says how long, ours when: what is left over was spent on launching.
      timing.infer_ended = std::max(timing.started, timing.done - took->copy_out);
      timing.infer_started = std::max(timing.started, timing.infer_ended - took->compute);
    }
    events.OnDone(run, took.status(), timing);
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

  const std::unique_ptr<cuda::CudaBlock> block_;
  const Placement placement_;
  const std::vector<PinnedMemory> inputs_;
  const std::vector<PinnedMemory> outputs_;
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
  const CudaBackendOptions options_;
  cuda::KernelStore store_;
  const std::shared_ptr<const cuda::CublasLt> library_;  // may be null
};

int64_t DeviceBytes(const BlockSpec& block, int64_t max_rows) {
  const auto element = block.compute == ComputeType::kFp16 || block.compute == ComputeType::kBf16
                           ? int64_t{2}
                           : int64_t{4};
  int64_t weights = 0;
  int64_t widest = block.input_features();
  for (const LayerSpec& layer : block.layers) {
    weights += layer.inputs * layer.outputs;
    widest = std::max(widest, layer.outputs);
  }
  return weights * element +
         max_rows * (RowBytes(block.input_features(), block.input_type) +
                     RowBytes(block.output_features(), block.output_type) + 2 * widest * element);
}

absl::StatusOr<Placement> CudaBackend::Prepare(const BlockSpec& block,
                                               const BatchingOptions& options) const {
  Placement placement{.devices = devices(),
                      .max_rows = options.max_rows,
                      .buckets = options.buckets,
                      .runs_inline = true};
  MLPSERVE_RETURN_IF_ERROR(Check(placement));
  placement.host_bytes = BufferBytes(block, placement);
  placement.device_bytes = DeviceBytes(block, placement.max_rows);
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
  MLPSERVE_ASSIGN_OR_RETURN(auto loaded,
                            cuda::CudaBlock::Load(block,
                                                  {.max_rows = placement.max_rows,
                                                   .buckets = placement.buckets,
                                                   .choice = options_.kernels,
                                                   .tuning_directory = options_.cache_directory,
                                                   .library = library_},
                                                  store_));
  MLPSERVE_RETURN_IF_ERROR(StoppedIfAsked(control, block.name));
  spdlog::debug("kernels of {}:\n{}", block.name, cuda::ToString(loaded->plan()));
  const TimePoint begin = Clock::now();
  std::vector<PinnedMemory> inputs;
  std::vector<PinnedMemory> outputs;
  MLPSERVE_RETURN_IF_ERROR(
      Allocate(placement.slots,
               placement.max_rows * RowBytes(block.input_features(), block.input_type), inputs));
  MLPSERVE_RETURN_IF_ERROR(
      Allocate(placement.outputs,
               placement.max_rows * RowBytes(block.output_features(), block.output_type), outputs));
  const cuda::LoadTimes& times = loaded->load_times();
  spdlog::info(
      "block {}: copied weights in {:.2f} s, made kernels in {:.2f} s, measured them in "
      "{:.2f} s, locked host memory in {:.2f} s",
      block.name, Seconds(times.weights), Seconds(times.kernels), Seconds(times.measuring),
      Seconds(Clock::now() - begin));
  return std::make_unique<CudaLoadedBlock>(std::move(loaded), placement, std::move(inputs),
                                           std::move(outputs));
}

}  // namespace

absl::StatusOr<OpenedCudaBackend> OpenCudaBackend(const CudaBackendOptions& options) {
  const absl::StatusOr<std::vector<cuda::Device>> devices = cuda::FindDevices();
  if (!devices.ok()) return devices.status();
  const cuda::Device& device = devices->front();
  const auto nvrtc = cuda::Nvrtc::Open();
  if (!nvrtc.ok()) return absl::NotFoundError(nvrtc.status().message());
  if (!(*nvrtc)->Supports(device.limits.arch)) {
    return absl::NotFoundError(absl::StrCat("expected an NVRTC that compiles for ",
                                            device.limits.arch, ", found ", (*nvrtc)->version()));
  }
  std::optional<cuda::KernelCache> cache;
  if (!options.cache_directory.empty()) {
    absl::StatusOr<cuda::KernelCache> opened = cuda::KernelCache::Open(options.cache_directory);
    if (!opened.ok()) return opened.status();
    cache = *std::move(opened);
  }
  const absl::Status use = cuda::Use(device);
  if (!use.ok()) return use;
  auto library = cuda::CublasLt::Open();
  return OpenedCudaBackend{.backend = std::make_unique<CudaBackend>(
                               options, cuda::KernelCompiler(*nvrtc, std::move(cache)), device,
                               library.ok() ? *library : nullptr),
                           .library = library.status()};
}

}  // namespace mlpserve
