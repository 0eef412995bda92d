#include "kernels/cuda/tiles/occupancy.h"

#include <algorithm>

#include "kernels/cuda/tiles/ceil_divide.h"

namespace mlpserve::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;        // of a CTA
constexpr int kMostRegisters = 255;       // of a thread
constexpr int kPartitions = 4;            // of an SM: each has its own registers
constexpr int kRegisterUnit = 256;        // that a warp's registers are rounded up to
constexpr int kSharedUnit = 128;          // bytes that a CTA's shared memory is rounded up to
constexpr int kReservedShared = 1 << 10;  // bytes that CUDA takes of each CTA's

int RoundUp(int value, int unit) { return CeilDivide(value, unit) * unit; }

}  // namespace

std::optional<SmLimits> SmLimitsOf(int capability) {
  switch (capability) {
    case 80:
      return SmLimits{.shared_per_cta = 163 << 10,
                      .shared_per_sm = 164 << 10,
                      .threads_per_sm = 2048,
                      .ctas_per_sm = 32};
    case 86:
      return SmLimits{.ctas_per_sm = 16};
    case 89:
    case 120:
      return SmLimits{};
    case 90:
      return SmLimits{.shared_per_cta = 227 << 10,
                      .shared_per_sm = 228 << 10,
                      .threads_per_sm = 2048,
                      .ctas_per_sm = 32};
    default:
      return std::nullopt;
  }
}

int CtasPerSm(const SmLimits& limits, const CtaResources& cta) {
  if (cta.threads < 1 || cta.threads > kMostThreads || cta.registers > kMostRegisters ||
      cta.shared_bytes > limits.shared_per_cta) {
    return 0;
  }
  const int warps = CeilDivide(cta.threads, kWarp);
  const int warp_registers = RoundUp(std::max(cta.registers, 1) * kWarp, kRegisterUnit);
  // A CTA is let in as if each partition took the same number of its warps.
  if (warp_registers * RoundUp(warps, kPartitions) > limits.registers_per_sm) return 0;
  const int warps_by_registers =
      limits.registers_per_sm / kPartitions / warp_registers * kPartitions;
  const int shared = RoundUp(cta.shared_bytes + kReservedShared, kSharedUnit);
  return std::min({limits.ctas_per_sm, limits.threads_per_sm / kWarp / warps,
                   warps_by_registers / warps, limits.shared_per_sm / shared});
}

}  // namespace mlpserve::cuda
