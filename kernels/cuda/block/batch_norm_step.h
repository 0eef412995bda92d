// The statistics of a batch norm: mean and variance of each column of z, left where the pass that
// normalises reads its column vectors (column_statistics.cuh).
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cuda/block/kernel_store.h"
#include "kernels/cuda/block/step.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/statistics_args.cuh"

namespace mlpserve::cuda {

inline constexpr char kGatherKernel[] = "mlpserve_column_parts";
inline constexpr char kFinishKernel[] = "mlpserve_column_finish";

// Both kernels' source.
std::string StatisticsSource();

class BatchNormStep final : public Step {
 public:
  // `args` without m and parts. `parts` is taken turns with; for up to `rows` rows.
  static absl::StatusOr<std::unique_ptr<BatchNormStep>> Make(const StatisticsArgs& args,
                                                             std::shared_ptr<Scratch> parts,
                                                             int64_t rows, KernelStore& store);

  absl::Status Launch(int32_t m, const Stream& stream) const override;

 private:
  BatchNormStep(const StatisticsArgs& args, std::shared_ptr<Scratch> parts, SharedKernel gather,
                SharedKernel finish)
      : args_(args),
        parts_(std::move(parts)),
        gather_(std::move(gather)),
        finish_(std::move(finish)) {}

  const StatisticsArgs args_;
  const std::shared_ptr<Scratch> parts_;
  const SharedKernel gather_, finish_;
};

}  // namespace mlpserve::cuda
