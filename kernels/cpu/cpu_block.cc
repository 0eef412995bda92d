#include "kernels/cpu/cpu_block.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/chunk_runner.h"
#include "kernels/cpu/cpu_plan.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/packed_block.h"
#include "kernels/cpu/step_runner.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cpu {
namespace {

bool UsesBf16Instructions(const BlockSpec& block, Bf16Instructions wanted) {
  if (block.compute != ComputeType::kBf16 || block.batch_invariant) return false;
  return wanted == Bf16Instructions::kIfPresent || Bf16Product::IsFaster();
}

int Threads(const WorkerTeam* team) { return team == nullptr ? 1 : team->threads(); }

}  // namespace

class CpuBlock::State {
 public:
  State(PackedBlock packed, const CpuBlockOptions& options);

  void Run(const Batch& batch);
  const PackedBlock& packed() const { return packed_; }

 private:
  void Share(const Plan& plan, absl::FunctionRef<void(int thread)> work) {
    if (plan.threads > 1) {
      team_->Run(work);
    } else {
      work(0);
    }
  }

  WorkerTeam* team_;
  PackedBlock packed_;
  std::optional<ChunkRunner> chunks_;  // none with batch statistics
  std::optional<StepRunner> steps_;    // none where one thread goes by chunks
};

CpuBlock::State::State(PackedBlock packed, const CpuBlockOptions& options)
    : team_(options.team), packed_(std::move(packed)) {
  const BlockShape& shape = packed_.shape();
  const int threads = Threads(team_);
  if (shape.batch_statistics) {
    steps_.emplace(packed_, options.max_rows, threads);
    return;
  }
  chunks_.emplace(packed_, std::min(LargestChunk(shape), options.max_rows), threads);
  if (threads == 1) return;
  steps_.emplace(packed_, std::min(FewRows(shape, threads), options.max_rows), threads);
}

void CpuBlock::State::Run(const Batch& batch) {
  const Plan plan = ChoosePlan(packed_.shape(), batch.rows, Threads(team_));
  if (plan.by_chunks) {
    chunks_->Prepare();
    Share(plan, [&](int thread) { chunks_->Run(batch, plan, thread); });
  } else {
    steps_->Prepare();
    Share(plan, [&](int thread) { steps_->Run(batch, plan, thread); });
  }
}

absl::StatusOr<std::unique_ptr<CpuBlock>> CpuBlock::Create(const BlockSpec& block,
                                                           const CpuBlockOptions& options) {
  MLPSERVE_ASSIGN_OR_RETURN(PackedBlock packed,
                            PackedBlock::Create(block, UsesBf16Instructions(block, options.bf16),
                                                Threads(options.team), options.before_layer));
  return std::unique_ptr<CpuBlock>(
      new CpuBlock(std::make_unique<State>(std::move(packed), options)));
}

CpuBlock::CpuBlock(std::unique_ptr<State> state) : state_(std::move(state)) {}
CpuBlock::~CpuBlock() = default;

void CpuBlock::Run(const std::byte* input, std::byte* output, int64_t rows) {
  state_->Run({.input = input, .output = output, .rows = rows});
}

int64_t CpuBlock::weight_bytes() const { return state_->packed().shape().weight_bytes; }

std::string CpuBlock::Variant(int layer) const {
  if (state_->packed().uses_bf16_instructions(layer)) return "bf16_onednn";
  return absl::StrCat("fp32_", InstructionSet());
}

}  // namespace mlpserve::cpu
