// What host_rows.cuh is told. Read by the kernels and filled by the host.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

constexpr int kHostRowsThreads = 256;
constexpr int kHostRowsVectors = 4;  // of 16 bytes, that a thread has in flight
constexpr int kHostRowsBytesOfCta = kHostRowsThreads * kHostRowsVectors * 16;

// Where a batch's rows lie in page-locked memory, and how many bytes they are. It lies there
// itself: a graph that was captured once finds the rows of every batch through it.
struct HostRows {
  const void* input = nullptr;
  void* output = nullptr;
  int64_t input_bytes = 0;
  int64_t output_bytes = 0;
};

// Everything starts at multiples of 16 bytes.
struct HostRowsArgs {
  const HostRows* batch = nullptr;  // does not change while the kernels run
  void* input = nullptr;            // on the device
  const void* output = nullptr;     // on the device
};

}  // namespace mlpserve::cuda
