#include "kernels/cuda/device_limits.h"

#include <algorithm>

namespace mlpserve::cuda {

DeviceLimits Rtx4090() { return {}; }

DeviceLimits H200() {
  return {.arch = "sm_90a",
          .capability = 90,
          .multiprocessors = 132,
          .shared_per_block = 232448,
          .shared_per_sm = 233472,
          .threads_per_sm = 2048,
          .blocks_per_sm = 32,
          .bytes_per_s = 4.6e12,
          .l2_bytes_per_s = 7e12,
          .flops_per_s = 790e12,
          .fp32_flops_per_s = 60e12};
}

// Registers are given out to warps in lots of 256, shared memory in lots of 128 bytes.
int BlocksPerSm(const DeviceLimits& limits, int threads, int registers, int shared_bytes) {
  constexpr int kReservedShared = 1024;
  if (threads > 1024 || registers > 255 || shared_bytes > limits.shared_per_block) return 0;
  const int warps = (threads + 31) / 32;
  const int registers_per_warp = (registers * 32 + 255) / 256 * 256;
  const int shared = (shared_bytes + 127) / 128 * 128 + kReservedShared;
  return std::min({limits.blocks_per_sm, limits.threads_per_sm / (warps * 32),
                   limits.registers_per_sm / (std::max(registers_per_warp, 256) * warps),
                   limits.shared_per_sm / shared});
}

}  // namespace mlpserve::cuda
