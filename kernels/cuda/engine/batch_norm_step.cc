#include "kernels/cuda/engine/batch_norm_step.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/cuda/engine/elementwise_pass.h"
#include "kernels/cuda/engine/product_args.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/norm_launch.h"
#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// As the kernels have them.
constexpr int kThreads = 256;
constexpr int kGatherColumns = 32;

// Whole columns in shared memory.
class HeldNorm final : public BoundStep {
 public:
  HeldNorm(const std::vector<SharedKernel>& kernels, const DeviceLimits& limits,
           const GemmArgs& args, const StatisticsArgs& statistics)
      : kernels_(kernels), sm_(limits.sm), args_(args), statistics_(statistics) {
    shape_ = {.threads = kThreads, .programmatic = limits.has_programmatic_launch()};
  }

  void SetRows(int32_t m) override {
    const size_t variant = NormVariant(m, sm_);
    args_.m = m;
    kernel_ = kernels_[variant].get();
    shape_.grid_x = CeilDivide(args_.n, kHeldColumns[variant]);
    shape_.shared_bytes = static_cast<int>(HeldBytes(m, kHeldColumns[variant]));
  }

  absl::Status Launch(const Stream& stream) override {
    void* arguments[] = {&args_, &statistics_};
    return kernel_->Launch(shape_, arguments, stream);
  }

 private:
  const std::vector<SharedKernel> kernels_;
  const SmLimits sm_;
  GemmArgs args_;
  StatisticsArgs statistics_;
  const LoadedKernel* kernel_ = nullptr;
  LaunchShape shape_;
};

// Statistics first, then value by value: `args.epilogue` and `statistics` name the same vectors,
// which the first two kernels write and the third reads.
class NormInParts final : public BoundStep {
 public:
  NormInParts(const BatchNormStep::Loaded& loaded, const GemmArgs& args,
              const StatisticsArgs& statistics)
      : gather_(loaded.gather),
        finish_(loaded.finish),
        args_(args),
        statistics_(statistics),
        normalise_(loaded.normalise, args) {
    gather_shape_ = {.grid_x = CeilDivide(args.n, kGatherColumns), .threads = kThreads};
    finish_shape_ = {.grid_x = CeilDivide(args.n, kThreads), .threads = kThreads};
  }

  void SetRows(int32_t m) override {
    args_.m = m;
    gather_shape_.grid_y = CeilDivide(m, kGatherRows);
    normalise_.SetRows(m);
  }

  absl::Status Launch(const Stream& stream) override {
    void* arguments[] = {&args_, &statistics_};
    MLPSERVE_RETURN_IF_ERROR(gather_->Launch(gather_shape_, arguments, stream));
    MLPSERVE_RETURN_IF_ERROR(finish_->Launch(finish_shape_, arguments, stream));
    return normalise_.Launch(stream);
  }

 private:
  const SharedKernel gather_, finish_;
  GemmArgs args_;
  StatisticsArgs statistics_;
  LaunchShape gather_shape_, finish_shape_;
  ElementwisePass normalise_;
};

// By the number of rows.
class BoundNorm final : public BoundStep {
 public:
  BoundNorm(HeldNorm held, std::optional<NormInParts> in_parts, const SmLimits& sm)
      : held_(std::move(held)), in_parts_(std::move(in_parts)), sm_(sm) {}

  void SetRows(int32_t m) override {
    is_held_ = NormVariant(m, sm_) != kHeldInParts;
    if (is_held_) {
      held_.SetRows(m);
    } else {
      in_parts_->SetRows(m);
    }
  }
  absl::Status Launch(const Stream& stream) override {
    return is_held_ ? held_.Launch(stream) : in_parts_->Launch(stream);
  }

 private:
  HeldNorm held_;
  std::optional<NormInParts> in_parts_;  // nothing: no batch has so many rows
  const SmLimits sm_;
  bool is_held_ = true;
};

// The lane's own vectors, a copy of the layer's, of which kernels write the first kNormColumns.
// Null where the lane has no room for them: then none of its kernels writes any.
absl::StatusOr<float*> CopyColumns(const Place& place, size_t index) {
  const NormPlan& norm = place.layer.norms[index];
  const EpilogueArgs& from = place.data.norms[index].columns;
  const auto offset = static_cast<size_t>(norm.columns_offset);
  const size_t bytes =
      norm.epilogue.columns.size() * static_cast<size_t>(from.columns_stride) * sizeof(float);
  if (place.memory.size(Buffer::kNormColumns) < offset + bytes) return nullptr;
  float* to = place.memory.as<float>(Buffer::kNormColumns) + offset / sizeof(float);
  MLPSERVE_RETURN_IF_ERROR(CopyOnDevice(to, from.columns, bytes));
  return to;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const BatchNormStep>> BatchNormStep::Make(const LayerPlan& layer,
                                                                         size_t index,
                                                                         Kernels& kernels) {
  const DeviceLimits& limits = kernels.limits();
  MLPSERVE_ASSIGN_OR_RETURN(const NormTexts texts, TextsOf(layer, layer.norms[index], limits));
  Loaded loaded;
  for (size_t i = 0; i < texts.held.size(); ++i) {
    const int64_t bytes =
        std::min<int64_t>(HeldBytes(layer.max_rows, kHeldColumns[i]), MostHeldBytes(limits.sm));
    MLPSERVE_ASSIGN_OR_RETURN(SharedKernel kernel,
                              kernels.Get(texts.held[i], static_cast<int>(bytes)));
    loaded.held.push_back(std::move(kernel));
  }
  if (!texts.in_parts.empty()) {
    MLPSERVE_ASSIGN_OR_RETURN(loaded.gather, kernels.Get(texts.in_parts[0], 0));
    MLPSERVE_ASSIGN_OR_RETURN(loaded.finish, kernels.Get(texts.in_parts[1], 0));
    MLPSERVE_ASSIGN_OR_RETURN(loaded.normalise, kernels.Get(texts.in_parts[2], 0));
  }
  return std::shared_ptr<const BatchNormStep>(new BatchNormStep(index, limits, std::move(loaded)));
}

absl::StatusOr<std::unique_ptr<BoundStep>> BatchNormStep::Bind(const Place& place) const {
  const NormPlan& norm = place.layer.norms[index_];
  GemmArgs args = ProductArgs(place);
  args.x = place.memory.at(norm.z);
  args.x_stride = norm.z.stride;
  args.y = place.memory.at(norm.y);
  args.y_stride = norm.y.stride;
  args.epilogue = place.data.norms[index_].columns;
  StatisticsArgs statistics = NormArgs(place, index_);
  HeldNorm held(loaded_.held, limits_, args, statistics);
  std::optional<NormInParts> in_parts;
  float* columns = nullptr;
  if (loaded_.gather != nullptr) {
    MLPSERVE_ASSIGN_OR_RETURN(columns, CopyColumns(place, index_));
  }
  if (columns != nullptr) {
    args.epilogue.columns = columns;
    statistics.parts = place.memory.as<double>(Buffer::kMoments);
    statistics.shift0 = columns;
    statistics.scale = columns + args.epilogue.columns_stride;
    statistics.shift1 = columns + 2 * args.epilogue.columns_stride;
    in_parts.emplace(loaded_, args, statistics);
  }
  return std::make_unique<BoundNorm>(std::move(held), std::move(in_parts), limits_.sm);
}

}  // namespace mlpserve::cuda
