#include "kernels/cuda/engine/layer_builder.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/engine/batch_norm_step.h"
#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/cuda/engine/split_step.h"
#include "kernels/cuda/engine/weight_upload.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/spec/canonical.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

absl::StatusOr<void*> LayerBuilder::Allocate(size_t bytes) {
  absl::StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(bytes);
  if (!memory.ok()) return memory.status();
  memory_.push_back(*std::move(memory));
  return memory_.back().get();
}

absl::StatusOr<Activation> LayerBuilder::AllocateActivation(int64_t features, int64_t stride,
                                                            DataType type) {
  const absl::StatusOr<void*> data =
      Allocate(static_cast<size_t>(max_rows_ * stride) * ByteSize(type));
  if (!data.ok()) return data.status();
  return Activation{.data = *data, .features = features, .stride = stride, .type = type};
}

absl::Status LayerBuilder::AddWeight(const LayerSpec& layer, ComputeType compute,
                                     const Stream& stream, Product& product) {
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory weight, UploadWeight(layer, compute, store_, stream));
  product.args.w = weight.get();
  product.args.w_stride = AlignedStride(layer.inputs, StorageType(compute));
  product.weight = std::make_shared<const DeviceMemory>(std::move(weight));
  if (compute != ComputeType::kFp32 || halves_->get() == nullptr || !MayBeSplit(layer)) {
    return absl::OkStatus();
  }
  auto split = SplitWeight(*product.weight, layer.outputs, layer.inputs, store_, stream);
  // Without room for it FP32's own products remain.
  if (absl::IsResourceExhausted(split.status())) return absl::OkStatus();
  if (!split.ok()) return split.status();
  product.weight_halves = std::make_shared<const DeviceMemory>(*std::move(split));
  product.has_halves = true;
  return absl::OkStatus();
}

absl::StatusOr<EpilogueArgs> LayerBuilder::AddColumns(
    const std::vector<std::vector<float>>& columns, int64_t outputs) {
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory memory, UploadColumns(columns, outputs));
  memory_.push_back(std::move(memory));
  return EpilogueArgs{.columns = static_cast<const float*>(memory_.back().get()),
                      .columns_stride = ColumnsStride(outputs)};
}

absl::StatusOr<Product> LayerBuilder::MakeProduct(const LayerSpec& layer, ComputeType compute,
                                                  const Activation& x,
                                                  const Activation& block_input,
                                                  const EpilogueSpec& epilogue,
                                                  const Stream& stream) {
  Product product{.compute = compute,
                  .epilogue = epilogue,
                  .halves = halves_,
                  .partials = partials_,
                  .arrivals = arrivals_,
                  .unfinished = unfinished_,
                  .workspace = workspace_};
  product.args.x = x.data;
  product.args.x_stride = x.stride;
  product.args.block_input = block_input.data;
  product.args.block_input_stride = block_input.stride;
  product.args.n = static_cast<int32_t>(layer.outputs);
  product.args.k = static_cast<int32_t>(layer.inputs);
  MLPSERVE_RETURN_IF_ERROR(AddWeight(layer, compute, stream, product));
  MLPSERVE_ASSIGN_OR_RETURN(product.args.epilogue, AddColumns(epilogue.columns, layer.outputs));
  return product;
}

absl::Status LayerBuilder::AddNorm(const EpiloguePart& part, const EpilogueSpec& whole,
                                   const Activation& block_input, const Activation& z,
                                   const Activation& to, Product& product) {
  const GemmArgs& args = product.args;
  const absl::StatusOr<EpilogueArgs> columns = AddColumns(part.epilogue.columns, args.n);
  if (!columns.ok()) return columns.status();
  BatchNormPass pass{.epilogue = part.epilogue,
                     .types = {.x = z.type, .y = to.type, .block_input = block_input.type},
                     .args = args,
                     .rows = max_rows_};
  pass.args.x = z.data;
  pass.args.x_stride = z.stride;
  pass.args.y = to.data;
  pass.args.y_stride = to.stride;
  pass.args.epilogue = *columns;
  StatisticsArgs& statistics = pass.statistics;
  float* vectors = const_cast<float*>(columns->columns);
  statistics.eps = part.norm->eps;
  statistics.shift0 = vectors;
  statistics.scale = vectors + columns->columns_stride;
  statistics.shift1 = vectors + 2 * columns->columns_stride;
  const auto bind = [&](const Operand& operand, const float*& column,
                        float& value) -> absl::Status {
    value = static_cast<float>(operand.value);
    if (!operand.is_column()) return absl::OkStatus();
    const absl::StatusOr<EpilogueArgs> uploaded =
        AddColumns({whole.columns[static_cast<size_t>(operand.column)]}, args.n);
    if (!uploaded.ok()) return uploaded.status();
    column = uploaded->columns;
    return absl::OkStatus();
  };
  MLPSERVE_RETURN_IF_ERROR(bind(part.norm->weight, statistics.weight_column, statistics.weight));
  MLPSERVE_RETURN_IF_ERROR(bind(part.norm->bias, statistics.bias_column, statistics.bias));
  auto step = BatchNormStep::Make(pass, moments_, store_);
  if (!step.ok()) return step.status();
  product.passes.push_back(*std::move(step));
  product.norm = std::move(pass);
  return absl::OkStatus();
}

absl::Status LayerBuilder::ReserveUnfinished(int64_t outputs) {
  const int64_t values = max_rows_ * AlignedStride(outputs, DataType::kFp32);
  return unfinished_->Reserve(static_cast<size_t>(values) * sizeof(float));
}

absl::Status LayerBuilder::ReserveHalves(int64_t inputs) {
  if (!store_.device().limits.has_wgmma()) return absl::OkStatus();
  const auto values = static_cast<size_t>(max_rows_ * SplitStrideOfX(inputs));
  const absl::Status reserved = halves_->Reserve(values * sizeof(float));
  return absl::IsResourceExhausted(reserved) ? absl::OkStatus() : reserved;
}

absl::StatusOr<Product> LayerBuilder::Build(const LayerSpec& layer, ComputeType compute,
                                            const Activation& x, const Activation& block_input,
                                            const Activation& y, const Stream& stream) {
  const EpilogueSpec canonical = Canonicalize(layer);
  const std::vector<EpiloguePart> parts = CutAtBatchNorms(canonical);
  absl::StatusOr<Product> product =
      MakeProduct(layer, compute, x, block_input, parts.front().epilogue, stream);
  if (!product.ok()) return product.status();
  const Activation z{.data = unfinished_->get(),
                     .features = layer.outputs,
                     .stride = AlignedStride(layer.outputs, DataType::kFp32)};
  const Activation& first = parts.size() > 1 ? z : y;
  product->args.y = first.data;
  product->args.y_stride = first.stride;
  product->output = first.type;
  for (size_t i = 1; i < parts.size(); ++i) {
    const Activation& to = i + 1 < parts.size() ? z : y;
    MLPSERVE_RETURN_IF_ERROR(AddNorm(parts[i], canonical, block_input, z, to, *product));
  }
  if (parts.size() > 2) product->norm.reset();  // a kernel does no more than one
  return product;
}

}  // namespace mlpserve::cuda
