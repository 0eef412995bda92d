#include "kernels/cuda/block/batch_norm_step.h"

#include <utility>

#include "kernels/cuda/device_sources.h"
#include "kernels/cuda/driver/status.h"

namespace mlpserve::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGatherColumns = 32;

int CeilDivide(int a, int b) { return (a + b - 1) / b; }

}  // namespace

std::string StatisticsSource() {
  SourceJoiner source;
  source.Add("kernels/cuda/column_statistics.cuh");
  return std::move(source).Take();
}

absl::StatusOr<std::unique_ptr<BatchNormStep>> BatchNormStep::Make(const StatisticsArgs& args,
                                                                   std::shared_ptr<Scratch> parts,
                                                                   int64_t rows,
                                                                   KernelStore& store) {
  const std::string source = StatisticsSource();
  absl::StatusOr<SharedKernel> gather = store.Get(source, kGatherKernel, 0);
  if (!gather.ok()) return gather.status();
  absl::StatusOr<SharedKernel> finish = store.Get(source, kFinishKernel, 0);
  if (!finish.ok()) return finish.status();
  const int blocks = CeilDivide(static_cast<int>(rows), kStatisticsRows);
  MLPSERVE_RETURN_IF_ERROR(
      parts->Reserve(static_cast<size_t>(blocks) * args.n * 2 * sizeof(double)));
  return std::unique_ptr<BatchNormStep>(
      new BatchNormStep(args, std::move(parts), *std::move(gather), *std::move(finish)));
}

absl::Status BatchNormStep::Launch(int32_t m, const Stream& stream) const {
  StatisticsArgs args = args_;
  args.m = m;
  args.parts = static_cast<double*>(parts_->get());
  void* arguments[] = {&args};
  MLPSERVE_RETURN_IF_ERROR(gather_->Launch({.grid_x = CeilDivide(args.n, kGatherColumns),
                                            .grid_y = CeilDivide(m, kStatisticsRows),
                                            .threads = kThreads},
                                           arguments, stream));
  return finish_->Launch({.grid_x = CeilDivide(args.n, kThreads), .threads = kThreads}, arguments,
                         stream);
}

}  // namespace mlpserve::cuda
