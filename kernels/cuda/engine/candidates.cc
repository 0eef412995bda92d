#include "kernels/cuda/engine/candidates.h"

#include <utility>

#include "kernels/cuda/engine/batch_norm_step.h"
#include "kernels/cuda/engine/fused_gemm.h"
#include "kernels/cuda/engine/split_step.h"
#include "kernels/cuda/plan/gemm_launch.h"
#include "kernels/cuda/plan/scratch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

absl::Status CandidateMaker::AddNorms(Steps& steps) {
  if (!norms_) {
    Steps made;
    for (size_t i = 0; i < layer_.norms.size(); ++i) {
      MLPSERVE_ASSIGN_OR_RETURN(auto norm, BatchNormStep::Make(layer_, i, kernels_));
      made.push_back(std::move(norm));
    }
    norms_ = std::move(made);
  }
  steps.insert(steps.end(), norms_->begin(), norms_->end());
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Step>> CandidateMaker::Split() {
  if (split_ == nullptr) {
    MLPSERVE_ASSIGN_OR_RETURN(split_, SplitStep::Make(kernels_));
  }
  return split_;
}

absl::StatusOr<Candidate> CandidateMaker::Ours(const KernelConfig& config, int64_t rows) {
  Steps steps;
  MLPSERVE_ASSIGN_OR_RETURN(const auto gemm, FusedGemm::Make(layer_, config, rows, kernels_));
  const bool reads_split = ReadsHalves(config.tile);
  if (reads_split) {
    MLPSERVE_ASSIGN_OR_RETURN(auto split, Split());
    steps.push_back(std::move(split));
  }
  steps.push_back(gemm);
  if (!Normalises(config.tile)) MLPSERVE_RETURN_IF_ERROR(AddNorms(steps));
  const KernelResources& resources = gemm->resources();
  const LaunchShape shape = LaunchOf(layer_, config, rows, 1).shape;
  return Candidate{.name = Name(config),
                   .step = std::make_shared<const StepSequence>(std::move(steps)),
                   .scratch = ScratchOf(layer_, config, rows, kernels_.limits()),
                   .cta = {.threads = shape.threads,
                           .registers = resources.registers,
                           .shared_bytes = resources.static_shared_bytes + shape.shared_bytes},
                   .local_bytes = resources.stack_bytes + resources.spill_store_bytes +
                                  resources.spill_load_bytes,
                   .reads_split = reads_split};
}

absl::StatusOr<std::vector<Candidate>> CandidateMaker::Library(
    const LayerData& data, int64_t rows, const std::shared_ptr<const CublasLt>& library, int most) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto pass, LibraryPass::Make(layer_, kernels_));
  MLPSERVE_ASSIGN_OR_RETURN(const auto gemms, LibraryGemm::Make(layer_, data, rows, library, most));
  std::vector<Candidate> candidates;
  for (const auto& gemm : gemms) {
    Steps steps = {gemm};
    if (pass != nullptr) steps.push_back(pass);
    MLPSERVE_RETURN_IF_ERROR(AddNorms(steps));
    candidates.push_back({.name = LibraryName(layer_, candidates.size()),
                          .step = std::make_shared<const StepSequence>(std::move(steps)),
                          .scratch = LibraryScratch(layer_, rows, kernels_.limits())});
  }
  return candidates;
}

}  // namespace mlpserve::cuda
