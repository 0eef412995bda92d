#include "kernels/cuda/engine/kernel_texts.h"

#include <set>
#include <utility>

#include "kernels/cuda/engine/batch_norm_step.h"
#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/cuda/engine/fused_gemm.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/cuda/engine/split_step.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/plan/buckets.h"
#include "kernels/cuda/plan/epilogue_parts.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/spec/canonical.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

class Gatherer {
 public:
  Gatherer(const BlockSpec& block, const KernelTextOptions& options, const DeviceLimits& limits)
      : block_(block), options_(options), limits_(limits), storage_(StorageType(block.compute)) {}

  absl::StatusOr<std::vector<KernelText>> Gather() {
    MLPSERVE_RETURN_IF_ERROR(AddElementwise({}, {.x = block_.input_type, .y = storage_}));
    for (size_t i = 0; i < block_.layers.size(); ++i) {
      const bool is_last = i + 1 == block_.layers.size();
      MLPSERVE_RETURN_IF_ERROR(AddLayer(block_.layers[i], is_last));
    }
    return std::move(texts_);
  }

 private:
  absl::Status AddLayer(const LayerSpec& layer, bool is_last) {
    MLPSERVE_RETURN_IF_ERROR(AddElementwise({}, {.x = layer.weight.type(), .y = storage_}));
    const std::vector<EpiloguePart> parts = CutAtBatchNorms(Canonicalize(layer));
    const DataType y = is_last ? block_.output_type : storage_;
    Product product{.compute = block_.compute,
                    .output = parts.size() > 1 ? DataType::kFp32 : y,
                    .epilogue = parts.front().epilogue};
    product.args.n = static_cast<int32_t>(layer.outputs);
    product.args.k = static_cast<int32_t>(layer.inputs);
    product.has_halves =
        block_.compute == ComputeType::kFp32 && limits_.has_wgmma() && MayBeSplit(layer);
    if (product.has_halves) Add(SplitSource(), kSplitKernel, kSplitKernel);
    const bool is_dense = is_last && parts.size() == 1;
    product.args.y_stride = is_dense ? layer.outputs : AlignedStride(layer.outputs, product.output);
    if (parts.size() == 2) {
      product.norm = BatchNormPass{.epilogue = parts.back().epilogue, .types = {.y = y}};
      product.norm->args.y_stride = is_last ? layer.outputs : AlignedStride(layer.outputs, y);
    }
    MLPSERVE_RETURN_IF_ERROR(AddProduct(product));
    for (size_t i = 1; i < parts.size(); ++i) {
      const ElementwiseTypes types{.y = i + 1 < parts.size() ? DataType::kFp32 : y,
                                   .block_input = storage_};
      MLPSERVE_RETURN_IF_ERROR(AddNorm(parts[i].epilogue, types));
    }
    return absl::OkStatus();
  }

  absl::Status AddNorm(const EpilogueSpec& epilogue, const ElementwiseTypes& types) {
    for (const int columns : kBlockColumns) {
      absl::StatusOr<std::string> source = BatchNormSource(epilogue, types, columns);
      if (!source.ok()) return source.status();
      Add(*std::move(source), kBatchNormKernel, kBatchNormKernel);
    }
    Add(StatisticsSource(), kGatherKernel, kGatherKernel);
    return AddElementwise(epilogue, types);
  }

  absl::Status AddProduct(const Product& product) {
    for (const int64_t rows : Buckets(options_.max_rows, options_.buckets)) {
      for (const Proposal& proposal :
           ChooseConfigs({.m = rows, .n = product.args.n, .k = product.args.k}, product.compute,
                         product.output, product.Options(block_.batch_invariant), limits_)) {
        const KernelStore::GemmRequest request = RequestFor(product, proposal.config);
        absl::StatusOr<std::string> source =
            KernelSource(request.epilogue, request.config, request.before);
        if (!source.ok()) return source.status();
        Add(*std::move(source), kKernelName, CodeName(proposal.config));
      }
    }
    // What follows the library's product.
    return AddElementwise(product.epilogue, {.y = product.output, .block_input = storage_});
  }

  absl::Status AddElementwise(const EpilogueSpec& epilogue, const ElementwiseTypes& types) {
    absl::StatusOr<std::string> source = ElementwiseSource(epilogue, types);
    if (!source.ok()) return source.status();
    Add(*std::move(source), kElementwiseKernel, kElementwiseKernel);
    return absl::OkStatus();
  }

  void Add(std::string source, std::string kernel, std::string label) {
    if (!seen_.insert(source).second) return;
    texts_.push_back({std::move(source), std::move(kernel), std::move(label)});
  }

  const BlockSpec& block_;
  const KernelTextOptions& options_;
  const DeviceLimits& limits_;
  const DataType storage_;
  std::set<std::string> seen_;
  std::vector<KernelText> texts_;
};

}  // namespace

absl::StatusOr<std::vector<KernelText>> KernelTexts(const BlockSpec& block,
                                                    const KernelTextOptions& options,
                                                    const DeviceLimits& limits) {
  return Gatherer(block, options, limits).Gather();
}

}  // namespace mlpserve::cuda
