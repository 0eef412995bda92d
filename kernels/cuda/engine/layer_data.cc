#include "kernels/cuda/engine/layer_data.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/engine/weight_upload.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Vectors of `outputs` numbers, one after the other, each at a multiple of 16 bytes; room for one
// where there is none.
absl::StatusOr<EpilogueArgs> UploadColumns(const std::vector<std::vector<float>>& columns,
                                           int64_t outputs, std::vector<DeviceMemory>& owners) {
  const int64_t stride = ColumnsStride(outputs);
  std::vector<float> padded(std::max<size_t>(columns.size(), 1) * static_cast<size_t>(stride));
  for (size_t i = 0; i < columns.size(); ++i) {
    std::ranges::copy(columns[i], padded.begin() + static_cast<int64_t>(i) * stride);
  }
  const size_t bytes = padded.size() * sizeof(float);
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory memory, DeviceMemory::Allocate(bytes));
  MLPSERVE_RETURN_IF_ERROR(CopyToDevice(memory.get(), padded.data(), bytes));
  owners.push_back(std::move(memory));
  return EpilogueArgs{.columns = static_cast<const float*>(owners.back().get()),
                      .columns_stride = stride};
}

absl::StatusOr<const float*> UploadColumn(const std::vector<float>& column, int64_t outputs,
                                          std::vector<DeviceMemory>& owners) {
  if (column.empty()) return nullptr;
  MLPSERVE_ASSIGN_OR_RETURN(const EpilogueArgs uploaded, UploadColumns({column}, outputs, owners));
  return uploaded.columns;
}

absl::StatusOr<NormData> UploadNorm(const NormPlan& norm, int64_t outputs,
                                    std::vector<DeviceMemory>& owners) {
  NormData data;
  MLPSERVE_ASSIGN_OR_RETURN(data.columns, UploadColumns(norm.epilogue.columns, outputs, owners));
  MLPSERVE_ASSIGN_OR_RETURN(data.weight, UploadColumn(norm.weight, outputs, owners));
  MLPSERVE_ASSIGN_OR_RETURN(data.bias, UploadColumn(norm.bias, outputs, owners));
  return data;
}

}  // namespace

absl::StatusOr<LayerData> UploadLayer(const LayerSpec& layer, const LayerPlan& plan,
                                      Kernels& kernels, TensorCopier& copier,
                                      const Stream& stream) {
  LayerData data;
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory weight,
                            UploadWeight(layer, plan, kernels, copier, stream));
  data.weight = std::make_shared<const DeviceMemory>(std::move(weight));
  if (plan.is_split) {
    MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory split, SplitWeight(*data.weight, plan, kernels, stream));
    data.split_weight = std::make_shared<const DeviceMemory>(std::move(split));
  }
  std::vector<DeviceMemory> owners;
  MLPSERVE_ASSIGN_OR_RETURN(data.columns,
                            UploadColumns(plan.epilogue.columns, plan.outputs, owners));
  for (const NormPlan& norm : plan.norms) {
    MLPSERVE_ASSIGN_OR_RETURN(NormData uploaded, UploadNorm(norm, plan.outputs, owners));
    data.norms.push_back(uploaded);
  }
  data.vectors = std::make_shared<const std::vector<DeviceMemory>>(std::move(owners));
  return data;
}

}  // namespace mlpserve::cuda
