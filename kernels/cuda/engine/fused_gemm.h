// A product as one kernel of ours, epilogue included, and the norm of a kernel that normalises by
// itself. What precedes and follows it is the caller's (candidates.h).
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/plan/gemm_launch.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/config.h"

namespace mlpserve::cuda {

class FusedGemm final : public Step {
 public:
  // For layers of this kind and up to `rows` rows.
  // Errors: those of Kernels::Get; OUT_OF_RANGE, a kernel whose CTAs wait for one another cannot
  // have all of them run at one time.
  static absl::StatusOr<std::shared_ptr<const FusedGemm>> Make(const LayerPlan& layer,
                                                               const KernelConfig& config,
                                                               int64_t rows, Kernels& kernels);

  absl::StatusOr<std::unique_ptr<BoundStep>> Bind(const Place& place) const override;
  const KernelResources& resources() const { return kernel_->resources(); }

 private:
  FusedGemm(const KernelConfig& config, int64_t rows, SharedKernel kernel)
      : config_(config), rows_(rows), kernel_(std::move(kernel)) {}

  const KernelConfig config_;
  const int64_t rows_;
  const SharedKernel kernel_;
  int clusters_ = 1;  // that the device runs at a time
};

}  // namespace mlpserve::cuda
