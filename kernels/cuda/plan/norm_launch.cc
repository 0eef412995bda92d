#include "kernels/cuda/plan/norm_launch.h"

#include <algorithm>

namespace mlpserve::cuda {
namespace {

constexpr int kReservedBytes = 2048;  // of shared memory, for sums and for the system

}  // namespace

int MostHeldBytes(const SmLimits& sm) { return sm.shared_per_cta - kReservedBytes; }

size_t NormVariant(int64_t m, const SmLimits& sm) {
  for (size_t i = 0; i < kHeldColumns.size(); ++i) {
    const bool is_last = i + 1 == kHeldColumns.size();
    const int room = is_last ? MostHeldBytes(sm)
                             : std::min(MostHeldBytes(sm), sm.shared_per_sm / 2 - kReservedBytes);
    if (HeldBytes(m, kHeldColumns[i]) <= room) return i;
  }
  return kHeldInParts;
}

}  // namespace mlpserve::cuda
