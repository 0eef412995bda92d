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

// Of x and of some rows of w as the layer finds them on the device, m rows; kTf32: rounded to
// TF32, else as they are. Waits.
absl::StatusOr<ProductSums> MultiplyOnDevice(const cuda::Place& place, int64_t m, Columns columns,
                                             ComputeType rounded_to, cuda::KernelStore& store,
                                             const cuda::Stream& stream);

// Gigabytes per second over a stretch far larger than L2.
absl::StatusOr<double> MeasureReading(cuda::KernelStore& store, const cuda::Stream& stream);

// The source of the kernel that MultiplyOnDevice launches, for operands of that format.
cuda::KernelText Float64Text(ComputeType stored);
// Of the one that MeasureReading launches.
cuda::KernelText ReadText();

}  // namespace mlpserve::tools
