// Loads and stores of shared memory by 32-bit addresses, one PTX instruction each. The compiler
// neither moves nor merges them: barriers and copies, which it does not see, order them.
#pragma once

#include "kernels/cuda/device/prelude.cuh"
#include "kernels/cuda/device/ptx/checks.cuh"

namespace mlpserve::cuda {

__device__ __forceinline__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p)) + MLPSERVE_SHARED_OFFSET;
}

__device__ __forceinline__ float LoadShared(uint32_t address) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
  return v;
}

__device__ __forceinline__ float2 LoadSharedPair(uint32_t address) {
  float2 v;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address) : "memory");
  return v;
}

__device__ __forceinline__ float4 LoadSharedFour(uint32_t address) {
  float4 v;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address)
               : "memory");
  return v;
}

__device__ __forceinline__ void StoreShared(uint32_t address, float v) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(v) : "memory");
}

__device__ __forceinline__ void StoreSharedPair(uint32_t address, uint32_t left, uint32_t right) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(address), "r"(left), "r"(right) : "memory");
}

}  // namespace mlpserve::cuda
