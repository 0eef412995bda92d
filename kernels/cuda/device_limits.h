// What choosing a kernel needs to know of a GPU. Filled from the driver at run time; two cards by
// name here, for tests, for compiling ahead of time and for the static sheet.
#pragma once

#include <string>

namespace mlpserve::cuda {

struct DeviceLimits {
  std::string arch = "sm_89";     // as the compiler is told
  int capability = 89;            // 10 · major + minor
  int multiprocessors = 128;      // SMs
  int shared_per_block = 101376;  // bytes, static and dynamic together
  int shared_per_sm = 102400;     // bytes; each block takes 1 KiB beside its own
  int registers_per_sm = 65536;
  int threads_per_sm = 1536;
  int blocks_per_sm = 24;
  double bytes_per_s = 1.0e12;  // of its memory
  double l2_bytes_per_s = 4e12;
  double flops_per_s = 165e12;      // FP16 and BF16 products with FP32 sums
  double fp32_flops_per_s = 82e12;  // FFMA

  bool has_wgmma() const { return arch == "sm_90a"; }
  // Of TF32 products.
  double tf32_flops_per_s() const { return flops_per_s / 2; }
};

DeviceLimits Rtx4090();
DeviceLimits H200();

// Blocks of a kernel that an SM holds at a time; 0 where it cannot run. Shared memory in bytes,
// static and dynamic together.
int BlocksPerSm(const DeviceLimits& limits, int threads, int registers, int shared_bytes);

}  // namespace mlpserve::cuda
