#include "kernels/cuda/engine/batch_norm_step.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/device_sources.h"
#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// As the kernels have them.
constexpr int kThreads = 256;
constexpr int kGatherColumns = 32;
constexpr int kGatherRows = 256;
constexpr int kLeastWaitingCapability = 90;  // that has griddepcontrol
constexpr int kReservedBytes = 2048;         // of shared memory, for sums and for the system

int64_t HeldBytes(int64_t rows, int columns) {
  return rows * columns * static_cast<int64_t>(sizeof(float));
}

}  // namespace

absl::StatusOr<std::string> BatchNormSource(const EpilogueSpec& epilogue,
                                            const ElementwiseTypes& types, int block_columns) {
  return PassSource(epilogue, types,
                    absl::StrCat("  static constexpr int kBlockColumns = ", block_columns, ";\n"),
                    "kernels/cuda/device/norm/batch_norm.cuh");
}

std::string StatisticsSource() {
  SourceJoiner source;
  source.Add("kernels/cuda/device/norm/column_statistics.cuh");
  return std::move(source).Take();
}

absl::StatusOr<std::unique_ptr<BatchNormStep>> BatchNormStep::Make(const BatchNormPass& pass,
                                                                   std::shared_ptr<Scratch> parts,
                                                                   KernelStore& store) {
  std::unique_ptr<BatchNormStep> step(new BatchNormStep(pass, std::move(parts)));
  step->most_shared_bytes_ = store.device().limits.sm.shared_per_block - kReservedBytes;
  step->shared_bytes_per_sm_ = store.device().limits.sm.shared_per_sm;
  step->waits_by_itself_ = store.device().limits.capability >= kLeastWaitingCapability;
  const size_t last = step->VariantFor(pass.rows);
  for (size_t i = 0; i < kBlockColumns.size() && i <= last; ++i) {
    const auto source = BatchNormSource(pass.epilogue, pass.types, kBlockColumns[i]);
    if (!source.ok()) return source.status();
    const int64_t bytes =
        std::min<int64_t>(HeldBytes(pass.rows, kBlockColumns[i]), step->most_shared_bytes_);
    auto kernel = store.Get(*source, kBatchNormKernel, static_cast<int>(bytes));
    if (!kernel.ok()) return kernel.status();
    step->whole_[i] = *std::move(kernel);
  }
  if (last < kBlockColumns.size()) return step;
  const std::string source = StatisticsSource();
  auto gather = store.Get(source, kGatherKernel, 0);
  if (!gather.ok()) return gather.status();
  auto finish = store.Get(source, kFinishKernel, 0);
  if (!finish.ok()) return finish.status();
  auto normalise = ElementwiseStep::Make(pass.epilogue, pass.types, pass.args, store);
  if (!normalise.ok()) return normalise.status();
  step->gather_ = *std::move(gather);
  step->finish_ = *std::move(finish);
  step->normalise_ = *std::move(normalise);
  const int64_t blocks = CeilDivide(static_cast<int>(pass.rows), kGatherRows);
  MLPSERVE_RETURN_IF_ERROR(
      step->parts_->Reserve(static_cast<size_t>(blocks * pass.args.n) * 2 * sizeof(double)));
  return step;
}

// The wide one where an SM holds two of its blocks, so that one loads while the other computes;
// else the narrow one. Measured on an H200 at 1024 x 8192: the narrow one takes half as long again,
// for all that an SM holds seven of its blocks.
size_t BatchNormStep::VariantFor(int64_t m) const {
  for (size_t i = 0; i < kBlockColumns.size(); ++i) {
    const int64_t bytes = HeldBytes(m, kBlockColumns[i]);
    const bool is_last = i + 1 == kBlockColumns.size();
    const int64_t room =
        is_last ? most_shared_bytes_
                : std::min(most_shared_bytes_, shared_bytes_per_sm_ / 2 - kReservedBytes);
    if (bytes <= room) return i;
  }
  return kBlockColumns.size();
}

absl::Status BatchNormStep::Launch(int32_t m, const Stream& stream) const {
  GemmArgs args = pass_.args;
  args.m = m;
  const size_t variant = VariantFor(m);
  if (variant == kBlockColumns.size()) return LaunchApart(args, stream);
  StatisticsArgs statistics = pass_.statistics;
  void* arguments[] = {&args, &statistics};
  const int columns = kBlockColumns[variant];
  return whole_[variant]->Launch({.grid_x = CeilDivide(args.n, columns),
                                  .threads = kThreads,
                                  .shared_bytes = static_cast<int>(HeldBytes(m, columns)),
                                  .programmatic = waits_by_itself_},
                                 arguments, stream);
}

absl::Status BatchNormStep::LaunchApart(GemmArgs& args, const Stream& stream) const {
  StatisticsArgs statistics = pass_.statistics;
  statistics.parts = static_cast<double*>(parts_->get());
  void* arguments[] = {&args, &statistics};
  MLPSERVE_RETURN_IF_ERROR(gather_->Launch({.grid_x = CeilDivide(args.n, kGatherColumns),
                                            .grid_y = CeilDivide(args.m, kGatherRows),
                                            .threads = kThreads},
                                           arguments, stream));
  MLPSERVE_RETURN_IF_ERROR(finish_->Launch(
      {.grid_x = CeilDivide(args.n, kThreads), .threads = kThreads}, arguments, stream));
  return normalise_->Launch(args.m, stream);
}

}  // namespace mlpserve::cuda
