// Single PTX instructions as functions, and loads and stores of the 16-bit formats. Device code
// only; tests/kernels/cuda/device/host_primitives.h stands in for it where emitted code runs on the
// host. Errors are those of the PTX ISA's tables: ex2.approx 2^-22 relative, rcp.approx one ulp.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float Reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Plain max.f32 and min.f32 drop a NaN; these pass it on.
__device__ __forceinline__ float MaxNan(float a, float b) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}

__device__ __forceinline__ float MinNan(float a, float b) {
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}

__device__ __forceinline__ float FloatFromBits(uint32_t bits) { return __uint_as_float(bits); }

__device__ __forceinline__ uint32_t BitsFromFloat(float x) { return __float_as_uint(x); }

// To nearest, ties away from zero: the only rounding that cvt to TF32 has before sm_90. It differs
// from ties to even in exact halves only.
__device__ __forceinline__ uint32_t RoundToTf32(uint32_t float_bits) {
  uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(__uint_as_float(float_bits)));
  return y;
}

// Past L1, which may hold what lay there before the kernel that wrote it.
__device__ __forceinline__ float LoadFromL2(const float* p) {
  float y;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(y) : "l"(p) : "memory");
  return y;
}

__device__ __forceinline__ float ToFloat(float x) { return x; }

__device__ __forceinline__ float ToFloat(Bf16 x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}

__device__ __forceinline__ float ToFloat(Fp16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

template <typename T>
__device__ __forceinline__ T FromFloat(float x);

template <>
__device__ __forceinline__ float FromFloat<float>(float x) {
  return x;
}

template <>
__device__ __forceinline__ Bf16 FromFloat<Bf16>(float x) {
  Bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

template <>
__device__ __forceinline__ Fp16 FromFloat<Fp16>(float x) {
  Fp16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

// Two neighbours of a row in one register, the left one in the low half.
template <typename T>
__device__ __forceinline__ uint32_t Pack(float left, float right);

template <>
__device__ __forceinline__ uint32_t Pack<Bf16>(float left, float right) {
  uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(right), "f"(left));
  return y;
}

template <>
__device__ __forceinline__ uint32_t Pack<Fp16>(float left, float right) {
  uint32_t y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(right), "f"(left));
  return y;
}

}  // namespace mlpserve::cuda
