// The rows of a small batch, fetched from the host's memory and sent back to it by kernels of the
// batch's own graph. Two copies by the copy engines would each wait for the kernels before them and
// be waited for by those after them, which takes longer than moving a few rows.
// Grid: CTAs share the bytes, kHostRowsBytesOfCta at a time; kHostRowsThreads threads; no dynamic
// shared memory.
#pragma once

#include "kernels/cuda/device/ptx/global_memory.cuh"
#include "kernels/cuda/device/ptx/programmatic_launch.cuh"
#include "kernels/cuda/device/rows/host_rows_args.cuh"

namespace mlpserve::cuda {

// Loads of all vectors before the first store: the host's memory is microseconds away.
__device__ __forceinline__ void CopyVectors(const char* from, char* to, int64_t bytes,
                                            int64_t first) {
  Words v[kHostRowsVectors];
#pragma unroll
  for (int i = 0; i < kHostRowsVectors; ++i) {
    const int64_t at = first + i * kHostRowsThreads * 16;
    if (at + 16 <= bytes) v[i] = Load16Bytes(from + at);
  }
#pragma unroll
  for (int i = 0; i < kHostRowsVectors; ++i) {
    const int64_t at = first + i * kHostRowsThreads * 16;
    if (at + 16 <= bytes) Store16Bytes(to + at, v[i]);
  }
}

__device__ __forceinline__ void CopyRows(const void* source, void* target, int64_t bytes) {
  const auto* from = static_cast<const char*>(source);
  auto* to = static_cast<char*>(target);
  for (int64_t begin = int64_t{blockIdx.x} * kHostRowsBytesOfCta; begin < bytes;
       begin += int64_t{gridDim.x} * kHostRowsBytesOfCta) {
    CopyVectors(from, to, bytes, begin + threadIdx.x * 16);
  }
  const int64_t whole = bytes / 16 * 16;
  if (blockIdx.x == 0 && whole + threadIdx.x < bytes) {
    to[whole + threadIdx.x] = from[whole + threadIdx.x];
  }
}

extern "C" __global__ void __launch_bounds__(kHostRowsThreads)
    mlpserve_fetch_rows(const __grid_constant__ HostRowsArgs args) {
  LetNextKernelStart();
  CopyRows(args.batch->input, args.input, args.batch->input_bytes);
}

extern "C" __global__ void __launch_bounds__(kHostRowsThreads)
    mlpserve_send_rows(const __grid_constant__ HostRowsArgs args) {
  WaitForPreviousKernel();
  CopyRows(args.output, args.batch->output, args.batch->output_bytes);
}

}  // namespace mlpserve::cuda
