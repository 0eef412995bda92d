// What choosing a kernel needs to know of a GPU. Filled from the driver at run time; two cards by
// name here, for tests, for compiling ahead of time and for the static sheet.
#pragma once

#include <string>

#include "kernels/cuda/tiles/occupancy.h"

namespace mlpserve::cuda {

// The defaults are the RTX 4090's, as published: NVIDIA Ada GPU Architecture, appendix A, table of
// GeForce RTX 4090 specifications (boost clock 2520 MHz).
struct DeviceLimits {
  std::string arch = "sm_89";  // as the compiler is told
  int capability = 89;         // 10 · major + minor
  int multiprocessors = 128;   // SMs
  SmLimits sm;
  double bytes_per_s = 1008e9;        // of its memory
  double l2_bytes_per_s = 4e12;       // not published: an estimate
  double flops_per_s = 165.2e12;      // FP16 and BF16 products with FP32 sums, dense
  double fp32_flops_per_s = 82.6e12;  // FFMA

  bool has_wgmma() const { return arch == "sm_90a"; }
  // griddepcontrol: a kernel may start while the one before it ends.
  bool has_programmatic_launch() const { return capability >= 90; }
  // Of TF32 products.
  double tf32_flops_per_s() const { return flops_per_s / 2; }
};

DeviceLimits Rtx4090();
// Its rates are measured ones (of memory and of FP16 and BF16: kernels/NOTES.md), a little below
// the best.
DeviceLimits H200();

}  // namespace mlpserve::cuda
