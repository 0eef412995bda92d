// Every kernel that loading a block may ask for, as source: what a cache is filled with ahead of
// time, on a machine without a GPU.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

struct KernelText {
  std::string source;
  std::string kernel;  // its name in the source
  std::string label;   // for messages
};

struct KernelTextOptions {
  int64_t max_rows = 4096;
  std::vector<int64_t> buckets;  // as CudaBlockOptions has them
};

// `block` has passed Validate. Each source once. Errors: those of emitting.
absl::StatusOr<std::vector<KernelText>> KernelTexts(const BlockSpec& block,
                                                    const KernelTextOptions& options,
                                                    const DeviceLimits& limits);

}  // namespace mlpserve::cuda
