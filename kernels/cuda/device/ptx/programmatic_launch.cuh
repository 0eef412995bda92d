// Programmatic launches: a kernel that was launched for it may start before the one before it in
// the stream has ended. Nothing before sm_90, which has no such launches.
#pragma once

#include "kernels/cuda/device/prelude.cuh"
#include "kernels/cuda/device/ptx/checks.cuh"

namespace mlpserve::cuda {

// Lets the next kernel of the stream start (where it was launched for that); it must not read what
// this one writes before its own WaitForPreviousKernel.
__device__ __forceinline__ void LetNextKernelStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void WaitForPreviousKernel() {
  Pause();
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace mlpserve::cuda
