#include "kernels/cuda/engine/split_step.h"

#include <utility>

#include "kernels/cuda/plan/pass_texts.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr int kThreads = 256;  // as tf32_split.cuh has them

}  // namespace

SplitPass::SplitPass(SharedKernel kernel, const SplitArgs& args, const DeviceLimits& limits)
    : kernel_(std::move(kernel)),
      args_(args),
      shape_{.threads = kThreads, .programmatic = limits.has_programmatic_launch()} {}

absl::Status SplitPass::Launch(const Stream& stream) {
  void* arguments[] = {&args_};
  return kernel_->Launch(shape_, arguments, stream);
}

absl::StatusOr<std::shared_ptr<const SplitStep>> SplitStep::Make(Kernels& kernels) {
  MLPSERVE_ASSIGN_OR_RETURN(SharedKernel kernel, kernels.Get(SplitText(), 0));
  return std::shared_ptr<const SplitStep>(new SplitStep(std::move(kernel), kernels.limits()));
}

absl::StatusOr<std::unique_ptr<BoundStep>> SplitStep::Bind(const Place& place) const {
  const LayerPlan& layer = place.layer;
  return std::make_unique<SplitPass>(
      kernel_,
      SplitArgs{.from = static_cast<const float*>(place.memory.at(layer.x)),
                .to = place.memory.as<float>(Buffer::kSplitRows),
                .from_stride = layer.x.stride,
                .to_stride = SplitStrideOfX(layer.inputs),
                .columns = static_cast<int32_t>(layer.inputs),
                .half_columns = static_cast<int32_t>(HalfColumns(layer.inputs)),
                .scales = 1},
      limits_);
}

}  // namespace mlpserve::cuda
