// A place in a ring of Config::kStages stages, and the parity of its round: what a barrier's
// waiters must name.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

struct Cursor {
  int stage = 0;
  uint32_t parity = 0;

  __device__ __forceinline__ void Advance() {
    if (++stage == Config::kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
  __device__ __forceinline__ void Skip(int count) {
    const int ahead = stage + count;
    parity ^= ahead / Config::kStages & 1;
    stage = ahead % Config::kStages;
  }
};

}  // namespace mlpserve::cuda
