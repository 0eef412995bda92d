#include "kernels/cuda/sheet/roofline.h"

namespace mlpserve::cuda {

Roofline RooflineOf(const GemmShape& shape, ComputeType compute, int columns,
                    const DeviceLimits& limits) {
  const double flops = compute == ComputeType::kFp32   ? limits.fp32_flops_per_s
                       : compute == ComputeType::kTf32 ? limits.tf32_flops_per_s()
                                                       : limits.flops_per_s;
  const auto m = static_cast<double>(shape.m);
  const auto n = static_cast<double>(shape.n);
  const auto k = static_cast<double>(shape.k);
  const auto element_bytes = static_cast<double>(ByteSize(StorageType(compute)));
  const double bytes = (m * k + n * k + m * n) * element_bytes + columns * n * sizeof(float);
  return {.arithmetic_us = 1e6 * 2 * m * n * k / flops,
          .memory_us = 1e6 * bytes / limits.bytes_per_s};
}

}  // namespace mlpserve::cuda
