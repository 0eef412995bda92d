// What the benchmark computes on a GPU beside the kernels under test: products in float64, and the
// rate at which memory can be read.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/reference/oracle.h"
#include "kernels/spec/datatype.h"
#include "server/tools/bench/expected.h"

namespace mlpserve::tools {

// Of x and of some rows of w as the product finds them on the device, m rows; kTf32: rounded to
// TF32, else as they are. Waits.
absl::StatusOr<ProductSums> MultiplyOnDevice(const cuda::Product& product, int64_t m,
                                             Columns columns, ComputeType rounded_to,
                                             cuda::KernelStore& store, const cuda::Stream& stream);

// Gigabytes per second over a stretch far larger than L2.
absl::StatusOr<double> MeasureReading(cuda::KernelStore& store, const cuda::Stream& stream);

// The source of the kernel that MultiplyOnDevice launches, for operands of that format.
std::string Float64Source(ComputeType stored);
inline constexpr char kFloat64Kernel[] = "mlpserve_float64_product";
// Of the one that MeasureReading launches.
std::string ReadSource();
inline constexpr char kReadKernel[] = "mlpserve_read_memory";

}  // namespace mlpserve::tools
