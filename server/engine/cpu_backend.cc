#include "server/engine/cpu_backend.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_block.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/reserved_memory.h"
#include "kernels/cpu/worker_team.h"
#include "kernels/status/status_macros.h"
#include "server/machine/limits.h"
#include "server/machine/processor_name.h"

namespace mlpserve {
namespace {

// Buffers of one size, and how far batches have filled them.
class BufferPool {
 public:
  // `count` of max_rows rows.
  BufferPool(int count, int64_t max_rows, int64_t row_bytes)
      : row_bytes_(row_bytes), filled_(static_cast<size_t>(count)) {
    for (int i = 0; i < count; ++i)
      buffers_.emplace_back(static_cast<size_t>(max_rows * row_bytes));
  }

  std::span<std::byte> at(int i) const { return buffers_[static_cast<size_t>(i)].bytes(); }

  void Fill(int i, int64_t rows) {
    std::atomic<int64_t>& filled = filled_[static_cast<size_t>(i)];
    if (rows > filled.load(std::memory_order_relaxed)) {
      filled.store(rows, std::memory_order_relaxed);  // one batch at a time uses a buffer
    }
  }
  int64_t filled_bytes() const {
    int64_t rows = 0;
    for (const auto& filled : filled_) rows += filled.load(std::memory_order_relaxed);
    return rows * row_bytes_;
  }

 private:
  int64_t row_bytes_;
  std::vector<cpu::ReservedMemory> buffers_;
  std::vector<std::atomic<int64_t>> filled_;  // rows of the largest batch that it held
};

class CpuLoadedBlock final : public LoadedBlock {
 public:
  CpuLoadedBlock(const BlockSpec& block, Placement placement, std::unique_ptr<cpu::CpuBlock> loaded)
      : placement_(std::move(placement)),
        reserved_bytes_(BufferBytes(block, placement_)),
        block_(std::move(loaded)),
        inputs_(placement_.slots, placement_.max_rows,
                RowBytes(block.input_features(), block.input_type)),
        outputs_(placement_.outputs, placement_.max_rows,
                 RowBytes(block.output_features(), block.output_type)) {
    for (size_t i = 0; i < block.layers.size(); ++i) {
      variants_.push_back({.layer = block.layers[i].name,
                           .bucket = placement_.max_rows,
                           .variant = block_->Variant(static_cast<int>(i))});
    }
    times_ = Measure(RowBytes(block.input_features(), block.input_type),
                     RowBytes(block.output_features(), block.output_type));
  }

  const Placement& placement() const override { return placement_; }
  std::vector<BatchTime> batch_times() const override { return times_; }
  int64_t Bucket(int64_t rows) const override { return rows; }
  std::span<std::byte> input(int slot) override { return inputs_.at(slot); }
  std::span<std::byte> output(int buffer) override { return outputs_.at(buffer); }
  std::vector<KernelVariant> variants() const override { return variants_; }
  int64_t ready_rows() const override { return placement_.max_rows; }
  void Grow() override {}

  BlockMemory memory() const override {
    return {.weights = block_->weight_bytes(),
            .buffers = inputs_.filled_bytes() + outputs_.filled_bytes(),
            .buffers_reserved = reserved_bytes_};
  }

  void Run(const BatchRun& run, BatchEvents& events) override {
    inputs_.Fill(run.slot, run.rows);
    outputs_.Fill(run.output, run.rows);
    BatchTiming timing;
    timing.started = timing.infer_started = Clock::now();
    block_->Run(input(run.slot).data(), output(run.output).data(), run.rows);
    timing.infer_ended = timing.done = Clock::now();
    events.OnDone(run, absl::OkStatus(), timing);
  }

 private:
  // Also touches the weights, and resolves what is resolved at a first call. In buffers of its own:
  // the block's hold what requests have needed.
  std::vector<BatchTime> Measure(int64_t input_row_bytes, int64_t output_row_bytes) {
    BufferPool inputs(1, placement_.max_rows, input_row_bytes);
    BufferPool outputs(1, placement_.max_rows, output_row_bytes);
    return MeasureBatches(
        placement_.max_rows, std::max(input_row_bytes, output_row_bytes),
        [&](int64_t rows) { block_->Run(inputs.at(0).data(), outputs.at(0).data(), rows); });
  }

  const Placement placement_;
  const int64_t reserved_bytes_;
  const std::unique_ptr<cpu::CpuBlock> block_;
  BufferPool inputs_;
  BufferPool outputs_;
  std::vector<KernelVariant> variants_;
  std::vector<BatchTime> times_;
};

int64_t WeightBytes(const BlockSpec& block) {
  int64_t weights = 0;
  for (const LayerSpec& layer : block.layers) weights += layer.inputs * layer.outputs;
  return weights * static_cast<int64_t>(sizeof(float));
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) : team_(threads) {}

  std::string_view name() const override { return "cpu"; }

  std::vector<std::string> devices() const override {
    return {absl::StrCat(ProcessorName(), ", ", cpu::CommonInstructionSetName(), ", ",
                         team_.threads(), team_.threads() == 1 ? " thread" : " threads")};
  }

  absl::StatusOr<Placement> Prepare(const BlockSpec& block,
                                    const BatchingOptions& options) const override {
    Placement placement{.devices = devices(),
                        .max_rows = options.max_rows,
                        .buckets = options.buckets,
                        .runs_inline = true};
    MLPSERVE_RETURN_IF_ERROR(Check(placement));
    placement.host_bytes = WeightBytes(block) + BufferBytes(block, placement);
    return placement;
  }

  absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                    const Placement& placement,
                                                    const LoadControl& control) override {
    MLPSERVE_RETURN_IF_ERROR(Check(placement));
    if (placement.lanes != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected one lane on the processor, found ", placement.lanes));
    }
    try {
      return Allocate(block, placement, control);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(
          absl::StrCat("out of memory for block \"", block.name, "\" with ", placement.max_rows,
                       " rows, ", placement.slots, " slots and ", placement.outputs, " outputs"));
    }
  }

 private:
  absl::StatusOr<std::unique_ptr<LoadedBlock>> Allocate(const BlockSpec& block,
                                                        const Placement& placement,
                                                        const LoadControl& control) {
    const auto layers = static_cast<int64_t>(block.layers.size());
    const auto before_layer = [&](int layer) {
      if (control.progress) control.progress({"reading and packing weights", layer, layers});
      if (!control.stop.stop_requested()) return absl::OkStatus();
      return absl::CancelledError(absl::StrCat("loading block \"", block.name, "\" was stopped"));
    };
    MLPSERVE_ASSIGN_OR_RETURN(
        std::unique_ptr<cpu::CpuBlock> loaded,
        cpu::CpuBlock::Create(
            block, {.max_rows = placement.max_rows, .team = &team_, .before_layer = before_layer}));
    return std::make_unique<CpuLoadedBlock>(block, placement, std::move(loaded));
  }

  cpu::WorkerTeam team_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const CpuBackendOptions& options) {
  return std::make_unique<CpuBackend>(options.threads > 0 ? options.threads : UsableProcessors());
}

}  // namespace mlpserve
