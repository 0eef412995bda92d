#include "kernels/cuda/tiles/device_limits.h"

namespace mlpserve::cuda {

DeviceLimits Rtx4090() { return {}; }

DeviceLimits H200() {
  return {.arch = "sm_90a",
          .capability = 90,
          .multiprocessors = 132,
          .sm = *SmLimitsOf(90),
          .bytes_per_s = 4.6e12,
          .l2_bytes_per_s = 7e12,
          .flops_per_s = 790e12,
          .fp32_flops_per_s = 60e12};
}

}  // namespace mlpserve::cuda
