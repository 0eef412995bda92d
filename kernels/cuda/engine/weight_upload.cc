#include "kernels/cuda/engine/weight_upload.h"

#include <cstddef>
#include <optional>

#include "kernels/cuda/engine/elementwise_pass.h"
#include "kernels/cuda/engine/split_step.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/pass_texts.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Runs a pass over the rows of a weight.
absl::Status RunOnce(BoundStep& pass, int64_t rows, const Stream& stream) {
  pass.SetRows(static_cast<int32_t>(rows));
  MLPSERVE_RETURN_IF_ERROR(pass.Launch(stream));
  return stream.Synchronize();
}

}  // namespace

absl::StatusOr<DeviceMemory> UploadWeight(const LayerSpec& layer, const LayerPlan& plan,
                                          Kernels& kernels, TensorCopier& copier,
                                          const Stream& stream) {
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory weight,
                            DeviceMemory::Allocate(static_cast<size_t>(plan.weight_bytes())));
  MLPSERVE_ASSIGN_OR_RETURN(const std::optional<KernelText> conversion, WeightText(plan));
  if (!conversion) {
    MLPSERVE_RETURN_IF_ERROR(copier.Copy(layer.weight, weight.get()));
    return weight;
  }
  MLPSERVE_ASSIGN_OR_RETURN(const DeviceMemory as_given,
                            DeviceMemory::Allocate(static_cast<size_t>(layer.weight.bytes())));
  MLPSERVE_RETURN_IF_ERROR(copier.Copy(layer.weight, as_given.get()));
  GemmArgs args;
  args.x = as_given.get();
  args.x_stride = plan.inputs;
  args.y = weight.get();
  args.y_stride = plan.weight_stride();
  args.n = static_cast<int32_t>(plan.inputs);
  MLPSERVE_ASSIGN_OR_RETURN(SharedKernel kernel, kernels.Get(*conversion, 0));
  ElementwisePass convert(std::move(kernel), args);
  MLPSERVE_RETURN_IF_ERROR(RunOnce(convert, plan.outputs, stream));
  return weight;
}

absl::StatusOr<DeviceMemory> SplitWeight(const DeviceMemory& weight, const LayerPlan& plan,
                                         Kernels& kernels, const Stream& stream) {
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory split,
                            DeviceMemory::Allocate(static_cast<size_t>(plan.split_weight_bytes())));
  MLPSERVE_ASSIGN_OR_RETURN(SharedKernel kernel, kernels.Get(SplitText(), 0));
  SplitPass pass(std::move(kernel),
                 {.from = static_cast<const float*>(weight.get()),
                  .to = static_cast<float*>(split.get()),
                  .from_stride = plan.weight_stride(),
                  .to_stride = SplitStrideOfW(plan.inputs),
                  .columns = static_cast<int32_t>(plan.inputs),
                  .half_columns = static_cast<int32_t>(HalfColumns(plan.inputs))},
                 kernels.limits());
  MLPSERVE_RETURN_IF_ERROR(RunOnce(pass, plan.outputs, stream));
  return split;
}

}  // namespace mlpserve::cuda
