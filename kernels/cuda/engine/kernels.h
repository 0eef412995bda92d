// Where steps get their kernels from: the store of a device, or, in tests, a record of what was
// asked for.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/loaded_kernel.h"
#include "kernels/cuda/jit/kernel_text.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/launch_shape.h"

namespace mlpserve::cuda {

using SharedKernel = std::shared_ptr<const LoadedKernel>;

class Kernels {
 public:
  virtual ~Kernels() = default;

  // Of the device that they run on.
  virtual const DeviceLimits& limits() const = 0;
  // `shared_bytes`: the most dynamic shared memory of a launch. Errors: those of the compiler.
  virtual absl::StatusOr<SharedKernel> Get(const KernelText& text, int shared_bytes) = 0;
  // Clusters of `cluster` CTAs that the device runs at a time.
  virtual absl::StatusOr<int> ActiveClusters(const LoadedKernel& kernel, const LaunchShape& shape,
                                             int cluster) = 0;
};

}  // namespace mlpserve::cuda
