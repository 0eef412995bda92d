// Rows of FP32 in the two parts for each number that three products of TF32 are made of
// (tf32_split.cuh, which tf32_terms.cuh reads): a pass before such a product, and, once, over its
// weight.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/device/tf32/split_args.cuh"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/tiles/device_limits.h"

namespace mlpserve::cuda {

class SplitPass final : public BoundStep {
 public:
  // `kernel` is of SplitText.
  SplitPass(SharedKernel kernel, const SplitArgs& args, const DeviceLimits& limits);

  void SetRows(int32_t m) override { shape_.grid_x = m; }
  absl::Status Launch(const Stream& stream) override;

 private:
  const SharedKernel kernel_;
  SplitArgs args_;
  LaunchShape shape_;
};

// Of a layer's x, to Buffer::kSplitRows.
class SplitStep final : public Step {
 public:
  static absl::StatusOr<std::shared_ptr<const SplitStep>> Make(Kernels& kernels);

  absl::StatusOr<std::unique_ptr<BoundStep>> Bind(const Place& place) const override;

 private:
  SplitStep(SharedKernel kernel, DeviceLimits limits)
      : kernel_(std::move(kernel)), limits_(std::move(limits)) {}

  const SharedKernel kernel_;
  const DeviceLimits limits_;
};

}  // namespace mlpserve::cuda
