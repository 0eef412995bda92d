// A batch norm with the statistics of the batch, and the ops after it, as a pass over z
// (kernels/cuda/plan/norm_launch.h).
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/plan/layer_plan.h"

namespace mlpserve::cuda {

class BatchNormStep final : public Step {
 public:
  // Of the layer's norm of that index, for up to the layer's rows.
  static absl::StatusOr<std::shared_ptr<const BatchNormStep>> Make(const LayerPlan& layer,
                                                                   size_t index, Kernels& kernels);

  // Copies the epilogue's vectors to the lane where its kernels write some of them, and waits.
  absl::StatusOr<std::unique_ptr<BoundStep>> Bind(const Place& place) const override;

  struct Loaded {
    std::vector<SharedKernel> held;          // by variant
    SharedKernel gather, finish, normalise;  // null: no batch has so many rows
  };

 private:
  BatchNormStep(size_t index, DeviceLimits limits, Loaded loaded)
      : index_(index), limits_(std::move(limits)), loaded_(std::move(loaded)) {}

  const size_t index_;
  const DeviceLimits limits_;
  const Loaded loaded_;
};

}  // namespace mlpserve::cuda
