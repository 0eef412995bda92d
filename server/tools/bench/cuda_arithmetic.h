// What the benchmark computes on a GPU beside the kernels under test: products in float64, and the
// rate at which memory can be read.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/jit/kernel_text.h"
#include "kernels/reference/oracle.h"
#include "kernels/spec/datatype.h"
#include "server/tools/bench/expected.h"

namespace mlpserve::tools {

// Multiplies m rows of x by some rows of w, both as the layer finds them on the device; with kTf32
// operands are rounded to TF32 first. Waits for the result.
absl::StatusOr<ProductSums> MultiplyOnDevice(const cuda::Place& place, int64_t m, Columns columns,
                                             ComputeType rounded_to, cuda::KernelStore& store,
                                             const cuda::Stream& stream);

// Reads a stretch of memory far larger than L2 and returns gigabytes per second.
absl::StatusOr<double> MeasureReading(cuda::KernelStore& store, const cuda::Stream& stream);

// The source of the kernel that MultiplyOnDevice launches, for operands of that format.
cuda::KernelText Float64Text(ComputeType stored);
// The source of the kernel that MeasureReading launches.
cuda::KernelText ReadText();

}  // namespace mlpserve::tools
