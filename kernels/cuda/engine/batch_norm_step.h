// A batch norm with the statistics of the batch, and the ops after it, as a pass over z: one kernel
// that holds whole columns in shared memory (batch_norm.cuh), or, for more rows than it can hold,
// three that do not (column_statistics.cuh, elementwise.cuh).
#pragma once

#include <array>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cuda/device/norm/statistics_args.cuh"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

inline constexpr char kBatchNormKernel[] = "mlpserve_batch_norm";
inline constexpr char kGatherKernel[] = "mlpserve_column_parts";
inline constexpr char kFinishKernel[] = "mlpserve_column_finish";
inline constexpr std::array kBlockColumns = {16, 8};  // of batch_norm.cuh's variants

// Of batch_norm.cuh. Errors are EmitEpilogue's.
absl::StatusOr<std::string> BatchNormSource(const EpilogueSpec& epilogue,
                                            const ElementwiseTypes& types, int block_columns);
// Of the two kernels of column_statistics.cuh.
std::string StatisticsSource();

struct BatchNormPass {
  EpilogueSpec epilogue;      // a part that begins with a norm (epilogue_parts.h)
  ElementwiseTypes types;     // x is FP32
  GemmArgs args;              // x is z; without m
  StatisticsArgs statistics;  // without parts
  int64_t rows = 1;           // the most of a batch
};

class BatchNormStep final : public Step {
 public:
  // `parts` is taken turns with.
  static absl::StatusOr<std::unique_ptr<BatchNormStep>> Make(const BatchNormPass& pass,
                                                             std::shared_ptr<Scratch> parts,
                                                             KernelStore& store);

  absl::Status Launch(int32_t m, const Stream& stream) const override;

 private:
  BatchNormStep(const BatchNormPass& pass, std::shared_ptr<Scratch> parts)
      : pass_(pass), parts_(std::move(parts)) {}
  // Index into kBlockColumns; its size: more rows than any can hold.
  size_t VariantFor(int64_t m) const;
  absl::Status LaunchApart(GemmArgs& args, const Stream& stream) const;

  const BatchNormPass pass_;
  const std::shared_ptr<Scratch> parts_;
  int most_shared_bytes_ = 0;  // of a block
  int shared_bytes_per_sm_ = 0;
  bool waits_by_itself_ = false;
  std::array<SharedKernel, kBlockColumns.size()> whole_;  // null: not needed for so few rows
  SharedKernel gather_, finish_;
  std::unique_ptr<ElementwiseStep> normalise_;
};

}  // namespace mlpserve::cuda
