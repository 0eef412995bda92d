// cp.async as functions, one PTX instruction each: copies of 16 bytes from global to shared memory
// that a thread starts, gathers into groups and waits for. sm_80 and up.
#pragma once

#include "kernels/cuda/device/prelude.cuh"
#include "kernels/cuda/device/ptx/checks.cuh"

namespace mlpserve::cuda {

// Copies the first `bytes` of 16 and zeros the rest.
__device__ __forceinline__ void CopyChunk(uint32_t to, const void* from, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int kPending>
__device__ __forceinline__ void WaitForCopies() {
  Pause();
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace mlpserve::cuda
