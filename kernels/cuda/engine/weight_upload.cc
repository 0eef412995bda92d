#include "kernels/cuda/engine/weight_upload.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cuda/engine/elementwise_pass.h"
#include "kernels/cuda/engine/split_step.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/pass_texts.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kPieceBytes = int64_t{8} << 20;

// Piece by piece, as the tensor is read.
absl::Status CopyTensor(const Tensor& tensor, void* to) {
  std::vector<std::byte> piece(static_cast<size_t>(std::min(kPieceBytes, tensor.bytes())));
  for (int64_t done = 0; done < tensor.bytes(); done += kPieceBytes) {
    const std::span<std::byte> bytes(
        piece.data(), static_cast<size_t>(std::min(kPieceBytes, tensor.bytes() - done)));
    MLPSERVE_RETURN_IF_ERROR(tensor.ReadBytes(done, bytes));
    MLPSERVE_RETURN_IF_ERROR(
        CopyToDevice(static_cast<std::byte*>(to) + done, bytes.data(), bytes.size()));
  }
  return absl::OkStatus();
}

// Runs a pass over the rows of a weight.
absl::Status RunOnce(BoundStep& pass, int64_t rows, const Stream& stream) {
  pass.SetRows(static_cast<int32_t>(rows));
  MLPSERVE_RETURN_IF_ERROR(pass.Launch(stream));
  return stream.Synchronize();
}

}  // namespace

absl::StatusOr<DeviceMemory> UploadWeight(const LayerSpec& layer, const LayerPlan& plan,
                                          Kernels& kernels, const Stream& stream) {
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory weight,
                            DeviceMemory::Allocate(static_cast<size_t>(plan.weight_bytes())));
  MLPSERVE_ASSIGN_OR_RETURN(const std::optional<KernelText> conversion, WeightText(plan));
  if (!conversion) {
    MLPSERVE_RETURN_IF_ERROR(CopyTensor(layer.weight, weight.get()));
    return weight;
  }
  MLPSERVE_ASSIGN_OR_RETURN(const DeviceMemory as_given,
                            DeviceMemory::Allocate(static_cast<size_t>(layer.weight.bytes())));
  MLPSERVE_RETURN_IF_ERROR(CopyTensor(layer.weight, as_given.get()));
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
