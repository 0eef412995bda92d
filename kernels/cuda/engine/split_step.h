// Rows of FP32 as the halves that three products of TF32 are made of (tf32_split.cuh, which
// tf32_terms.cuh reads): a pass before such a product, and, once, over its weights.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cuda/device/tf32/split_args.cuh"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

inline constexpr char kSplitKernel[] = "mlpserve_split_tf32";

// Of tf32_split.cuh.
std::string SplitSource();

// Whether the layer's products keep FP32's meaning when they are made of halves: its sums are long
// enough (kLeastHalvesDepth), none of its weights is infinite or NaN, none so large that a scaled
// row of x overflows (tf32_halves.cuh), and none so small, but for 0, that TF32 has not all of its
// halves.
bool MayBeSplit(const LayerSpec& layer);

class SplitStep final : public Step {
 public:
  static absl::StatusOr<std::unique_ptr<SplitStep>> Make(const SplitArgs& args, KernelStore& store);

  absl::Status Launch(int32_t m, const Stream& stream) const override;

 private:
  SplitStep(const SplitArgs& args, bool waits_by_itself, SharedKernel kernel)
      : args_(args), waits_by_itself_(waits_by_itself), kernel_(std::move(kernel)) {}

  const SplitArgs args_;
  const bool waits_by_itself_;
  const SharedKernel kernel_;
};

}  // namespace mlpserve::cuda
