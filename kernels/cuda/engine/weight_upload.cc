#include "kernels/cuda/engine/weight_upload.h"

#include <algorithm>
#include <span>

#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/cuda/engine/split_step.h"
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

}  // namespace

absl::StatusOr<DeviceMemory> UploadWeight(const LayerSpec& layer, ComputeType compute,
                                          KernelStore& store, const Stream& stream) {
  const DataType type = StorageType(compute);
  const int64_t stride = AlignedStride(layer.inputs, type);
  MLPSERVE_ASSIGN_OR_RETURN(
      DeviceMemory weight,
      DeviceMemory::Allocate(static_cast<size_t>(layer.outputs * stride) * ByteSize(type)));
  if (layer.weight.type() == type && stride == layer.inputs) {
    MLPSERVE_RETURN_IF_ERROR(CopyTensor(layer.weight, weight.get()));
    return weight;
  }
  MLPSERVE_ASSIGN_OR_RETURN(const DeviceMemory as_given,
                            DeviceMemory::Allocate(static_cast<size_t>(layer.weight.bytes())));
  MLPSERVE_RETURN_IF_ERROR(CopyTensor(layer.weight, as_given.get()));
  GemmArgs args;
  args.x = as_given.get();
  args.x_stride = layer.inputs;
  args.y = weight.get();
  args.y_stride = stride;
  args.n = static_cast<int32_t>(layer.inputs);
  MLPSERVE_ASSIGN_OR_RETURN(
      const auto convert,
      ElementwiseStep::Make({}, {.x = layer.weight.type(), .y = type}, args, store));
  MLPSERVE_RETURN_IF_ERROR(convert->Launch(static_cast<int32_t>(layer.outputs), stream));
  MLPSERVE_RETURN_IF_ERROR(stream.Synchronize());
  return weight;
}

absl::StatusOr<DeviceMemory> SplitWeight(const DeviceMemory& weight, int64_t outputs,
                                         int64_t inputs, KernelStore& store, const Stream& stream) {
  const int64_t stride = SplitStrideOfW(inputs);
  MLPSERVE_ASSIGN_OR_RETURN(
      DeviceMemory split,
      DeviceMemory::Allocate(static_cast<size_t>(outputs * stride) * sizeof(float)));
  MLPSERVE_ASSIGN_OR_RETURN(
      const auto step, SplitStep::Make({.from = static_cast<const float*>(weight.get()),
                                        .to = static_cast<float*>(split.get()),
                                        .from_stride = AlignedStride(inputs, DataType::kFp32),
                                        .to_stride = stride,
                                        .columns = static_cast<int32_t>(inputs),
                                        .half_columns = static_cast<int32_t>(HalfColumns(inputs))},
                                       store));
  MLPSERVE_RETURN_IF_ERROR(step->Launch(static_cast<int32_t>(outputs), stream));
  MLPSERVE_RETURN_IF_ERROR(stream.Synchronize());
  return split;
}

int64_t ColumnsStride(int64_t outputs) { return RoundUp(outputs, 8); }

absl::StatusOr<DeviceMemory> UploadColumns(const std::vector<std::vector<float>>& columns,
                                           int64_t outputs) {
  const int64_t stride = ColumnsStride(outputs);
  std::vector<float> padded(std::max<size_t>(columns.size(), 1) * static_cast<size_t>(stride));
  for (size_t i = 0; i < columns.size(); ++i) {
    std::ranges::copy(columns[i], padded.begin() + static_cast<int64_t>(i) * stride);
  }
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory memory,
                            DeviceMemory::Allocate(padded.size() * sizeof(float)));
  MLPSERVE_RETURN_IF_ERROR(
      CopyToDevice(memory.get(), padded.data(), padded.size() * sizeof(float)));
  return memory;
}

}  // namespace mlpserve::cuda
