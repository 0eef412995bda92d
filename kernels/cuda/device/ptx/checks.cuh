// What a check build adds to kernels, for tests: MLPSERVE_CHECKED is defined before the text.
// Otherwise all of it is nothing.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

// Bytes by which a check build misplaces the CTA's shared memory.
#ifndef MLPSERVE_SHARED_OFFSET
#define MLPSERVE_SHARED_OFFSET 0
#endif

namespace mlpserve::cuda {

// Ends the kernel with a trap where it does not hold.
__device__ __forceinline__ void Require(bool holds) {
#ifdef MLPSERVE_CHECKED
  if (!holds) asm volatile("trap;");
#endif
}

// The same where the address is no multiple of `bytes`. What the compiler takes
// an address to be a multiple of is hidden from it: it would leave the check out.
__device__ __forceinline__ void RequireAligned(uint32_t address, uint32_t bytes) {
#ifdef MLPSERVE_CHECKED
  uint32_t hidden;
  asm volatile("mov.u32 %0, %1;" : "=r"(hidden) : "r"(address));
  Require(hidden % bytes == 0);
#endif
}

// Sleeps up to about a microsecond, another time for each warp and each call, so that warps and
// CTAs come to their barriers in any order. Without a branch: the warp stays together.
__device__ __forceinline__ void Pause() {
#ifdef MLPSERVE_CHECKED
  uint32_t clock;
  asm volatile("mov.u32 %0, %%clock;" : "=r"(clock));
  const uint32_t mixed = (clock + threadIdx.x / 32 * 40503u + blockIdx.x * 977u) * 2654435761u;
  asm volatile("nanosleep.u32 %0;" ::"r"(mixed >> 22));
#endif
}

}  // namespace mlpserve::cuda
