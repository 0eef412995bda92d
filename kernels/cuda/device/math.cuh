// The functions of an epilogue in FP32, as torch.nn.functional defines them, NaN and infinity
// included. Each errs by at most about 2^-22 of its value plus 2^-22 of its argument times its
// largest slope, which is what one op may add (tests/goldens/README.md).
//
// Built on Exp2, Reciprocal, MaxNan and MinNan alone, which come before this text: from
// ptx/primitives.cuh on a GPU, from the test's stand-ins on the host.
#pragma once

namespace mlpserve::cuda {

constexpr float kLog2E = 1.44269504f;

__device__ inline float Relu(float z) { return MaxNan(z, 0.0f); }

__device__ inline float LeakyRelu(float z, float slope) { return z > 0.0f ? z : z * slope; }

// No form of sigmoid cancels: 1 + 2^t is at least 1.
__device__ inline float Sigmoid(float z) { return Reciprocal(1.0f + Exp2(-kLog2E * z)); }

__device__ inline float Silu(float z) { return z * Sigmoid(z); }

// tanh(u) = 2·sigmoid(2u) - 1 turns z/2·(1 + tanh(u)) into z·sigmoid(2u).
__device__ inline float GeluTanh(float z) {
  constexpr float kLinear = -2.0f * 1.44269504f * 0.797884561f;  // sqrt(2/pi)
  constexpr float kCubic = -2.0f * 1.44269504f * 0.797884561f * 0.044715f;
  const float exponent = z * fmaf(kCubic, z * z, kLinear);
  return z * Reciprocal(1.0f + Exp2(exponent));
}

__device__ inline float GeluErf(float z) { return 0.5f * z * (1.0f + erff(0.707106781f * z)); }

// (1 - t) / (1 + t) with t = exp(-2|z|) cancels near zero, where the odd polynomial takes over.
__device__ inline float Tanh(float z) {
  const float square = z * z;
  float polynomial = fmaf(0x1.0c34b6p-6f, square, -0x1.af3778p-5f);
  polynomial = fmaf(polynomial, square, 0x1.10cc82p-3f);
  polynomial = fmaf(polynomial, square, -0x1.555446p-2f);
  const float small = fmaf(z * square, polynomial, z);
  const float t = Exp2(-2.0f * kLog2E * fabsf(z));
  const float large = copysignf((1.0f - t) * Reciprocal(1.0f + t), z);
  return fabsf(z) < 0.55f ? small : large;
}

// alpha·(exp(z) - 1) below zero.
__device__ inline float Elu(float z, float alpha) {
  float polynomial = fmaf(0x1.27c25ep-10f, z, 0x1.0c9216p-7f);
  polynomial = fmaf(polynomial, z, 0x1.550f3ep-5f);
  polynomial = fmaf(polynomial, z, 0x1.555376p-3f);
  polynomial = fmaf(polynomial, z, 0x1.fffff8p-2f);
  const float small = fmaf(z * z, polynomial, z);
  const float large = Exp2(kLog2E * z) - 1.0f;
  const float negative = alpha * (z > -0.5f ? small : large);
  return z < 0.0f ? negative : z;
}

// max(z, 0) + log(1 + t) with t = exp(-|z|), and log(1 + t) = 2·atanh(t / (2 + t)) as a series,
// which keeps small t.
__device__ inline float Softplus(float z) {
  const float t = Exp2(-kLog2E * fabsf(z));
  const float reciprocal = Reciprocal(2.0f + t);
  const float quotient = t * reciprocal;
  const float s = fmaf(fmaf(-quotient, 2.0f + t, t), reciprocal, quotient);
  const float square = s * s;
  float series = fmaf(0x1.1fab60p-3f, square, 0x1.1e9460p-3f);
  series = fmaf(series, square, 0x1.99d45cp-3f);
  series = fmaf(series, square, 0x1.5554fcp-2f);
  return MaxNan(z, 0.0f) + 2.0f * fmaf(s * square, series, s);
}

// tanh(log(1 + e)) = n / (n + 2) with n = e·(e + 2); from 20 on it is 1 in FP32.
__device__ inline float Mish(float z) {
  const float e = Exp2(kLog2E * z);
  const float n = e * (e + 2.0f);
  const float gated = z * (n * Reciprocal(n + 2.0f));
  return z > 20.0f ? z : gated;
}

__device__ inline float Hardsigmoid(float z) {
  return MinNan(MaxNan(fmaf(z, 1.0f / 6.0f, 0.5f), 0.0f), 1.0f);
}

__device__ inline float Hardswish(float z) { return z * Hardsigmoid(z); }

}  // namespace mlpserve::cuda
