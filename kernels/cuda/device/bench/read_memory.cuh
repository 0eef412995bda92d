// Reads memory once, past the caches, four loads in flight: what a kernel that must read its
// weights is held against. Any grid of any number of threads.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

// `sink` is written to only where the bits add up to what they never do.
extern "C" __global__ void mlpserve_read_memory(const uint4* data, size_t count, unsigned* sink) {
  unsigned sum = 0;
  const size_t step = size_t{gridDim.x} * blockDim.x;
  size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x;
  for (; i + 3 * step < count; i += 4 * step) {
    const uint4 a = __ldcs(data + i), b = __ldcs(data + i + step), c = __ldcs(data + i + 2 * step),
                d = __ldcs(data + i + 3 * step);
    sum ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w;
    sum ^= c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
  }
  for (; i < count; i += step) sum ^= __ldcs(data + i).x;
  if (sum == 0x12345678u) *sink = sum;
}

}  // namespace mlpserve::cuda
