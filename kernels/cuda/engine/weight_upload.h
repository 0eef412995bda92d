// A layer's numbers on the device: its weight in the formats that kernels read, and the vectors of
// an epilogue. Each call copies, converts and waits until the result is there.
//
// Threads: any, each with a stream of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

// The weight [outputs, inputs] in the storage format of `compute`, with rows that start at
// multiples of 16 bytes (AlignedStride). Errors: RESOURCE_EXHAUSTED, out of memory.
absl::StatusOr<DeviceMemory> UploadWeight(const LayerSpec& layer, ComputeType compute,
                                          KernelStore& store, const Stream& stream);

// The same in two parts for each number (tf32_terms.cuh), SplitStrideOfW floats from row to row:
// twice the memory of `weight`, which is what UploadWeight returned for FP32.
absl::StatusOr<DeviceMemory> SplitWeight(const DeviceMemory& weight, int64_t outputs,
                                         int64_t inputs, KernelStore& store, const Stream& stream);

// Elements from one vector to the next: EpilogueArgs::columns_stride.
int64_t ColumnsStride(int64_t outputs);
// Vectors of `outputs` numbers, one after the other; room for one where there is none.
absl::StatusOr<DeviceMemory> UploadColumns(const std::vector<std::vector<float>>& columns,
                                           int64_t outputs);

}  // namespace mlpserve::cuda
