#include "server/engine/cpu_backend.h"

#include <algorithm>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/cpu_block.h"
#include "kernels/cpu/worker_team.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

using cpu::AlignedBuffer;

class CpuLoadedBlock final : public LoadedBlock {
 public:
  CpuLoadedBlock(const BlockSpec& block, const LoadOptions& options,
                 std::unique_ptr<cpu::CpuBlock> loaded)
      : max_rows_(options.max_rows), block_(std::move(loaded)) {
    const int64_t input_row =
        block.input_features() * static_cast<int64_t>(ByteSize(block.input_type));
    const int64_t output_row =
        block.output_features() * static_cast<int64_t>(ByteSize(block.output_type));
    for (int i = 0; i < options.slots; ++i) inputs_.emplace_back(max_rows_ * input_row);
    for (int i = 0; i < options.outputs; ++i) outputs_.emplace_back(max_rows_ * output_row);
    for (size_t i = 0; i < block.layers.size(); ++i) {
      variants_.push_back({.layer = block.layers[i].name,
                           .bucket = max_rows_,
                           .variant = block_->Variant(static_cast<int>(i))});
    }
    if (!inputs_.empty() && !outputs_.empty()) Warm();
  }

  int lanes() const override { return 1; }
  int64_t Bucket(int64_t rows) const override { return rows; }
  std::span<std::byte> input(int slot) override { return Span(inputs_[static_cast<size_t>(slot)]); }
  std::span<std::byte> output(int buffer) override {
    return Span(outputs_[static_cast<size_t>(buffer)]);
  }
  std::vector<KernelVariant> variants() const override { return variants_; }

  void Run(const BatchRun& run, const Done& done) override {
    BatchTiming timing;
    timing.started = timing.infer_started = Clock::now();
    block_->Run(input(run.slot).data(), output(run.output).data(), run.rows);
    timing.infer_ended = timing.done = Clock::now();
    done(absl::OkStatus(), timing);
  }

 private:
  static std::span<std::byte> Span(AlignedBuffer<std::byte>& buffer) {
    return {buffer.get(), static_cast<size_t>(buffer.size())};
  }

  // Touches the weights, and resolves what is resolved at a first call.
  void Warm() {
    const int64_t rows = std::min<int64_t>(max_rows_, 2);
    block_->Run(input(0).data(), output(0).data(), rows);
  }

  const int64_t max_rows_;
  const std::unique_ptr<cpu::CpuBlock> block_;
  std::vector<AlignedBuffer<std::byte>> inputs_;
  std::vector<AlignedBuffer<std::byte>> outputs_;
  std::vector<KernelVariant> variants_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) : team_(threads) {}

  std::string_view name() const override { return "cpu"; }

  std::vector<std::string> devices() const override {
    return {absl::StrCat("processor, ", team_.threads(),
                         team_.threads() == 1 ? " thread" : " threads")};
  }

  absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                    const LoadOptions& options) override {
    if (options.max_rows < 1 || options.slots < 1 || options.outputs < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected at least one row, slot and output, found ", options.max_rows, ", ",
                       options.slots, " and ", options.outputs));
    }
    try {
      MLPSERVE_ASSIGN_OR_RETURN(
          std::unique_ptr<cpu::CpuBlock> loaded,
          cpu::CpuBlock::Create(block, {.max_rows = options.max_rows, .team = &team_}));
      return std::make_unique<CpuLoadedBlock>(block, options, std::move(loaded));
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(
          absl::StrCat("out of memory for block \"", block.name, "\" with ", options.max_rows,
                       " rows, ", options.slots, " slots and ", options.outputs, " outputs"));
    }
  }

 private:
  cpu::WorkerTeam team_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const CpuBackendOptions& options) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::make_unique<CpuBackend>(options.threads > 0 ? options.threads : cores);
}

}  // namespace mlpserve
