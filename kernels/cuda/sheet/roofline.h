// The least time in which a device could compute a layer: its arithmetic at the peak rate, or every
// operand moved once at the peak bandwidth, whichever takes longer. The epilogue's own arithmetic
// is left out: beside a product it is little, and it overlaps.
#pragma once

#include "kernels/cuda/tiles/choose.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

struct Roofline {
  double arithmetic_us = 0;
  double memory_us = 0;

  double us() const { return arithmetic_us > memory_us ? arithmetic_us : memory_us; }
};

// x, w and y in the format of the layers between, and `columns` FP32 vectors of the epilogue; w
// comes from memory, not from L2.
Roofline RooflineOf(const GemmShape& shape, ComputeType compute, int columns,
                    const DeviceLimits& limits);

}  // namespace mlpserve::cuda
