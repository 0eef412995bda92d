// A layer's weight on the device in the formats that kernels read. Each call copies, converts and
// waits until the result is there.
//
// Threads: any, each with a stream of its own.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/tensor_copier.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

// [outputs, inputs] in the format of the products, LayerPlan::weight_stride from row to row.
// Errors: RESOURCE_EXHAUSTED, out of memory; what the tensor's source says.
absl::StatusOr<DeviceMemory> UploadWeight(const LayerSpec& layer, const LayerPlan& plan,
                                          Kernels& kernels, TensorCopier& copier,
                                          const Stream& stream);

// The same in two parts for each number (tf32_terms.cuh), SplitStrideOfW floats from row to row:
// twice the memory of `weight`, which is what UploadWeight returned for FP32.
absl::StatusOr<DeviceMemory> SplitWeight(const DeviceMemory& weight, const LayerPlan& plan,
                                         Kernels& kernels, const Stream& stream);

}  // namespace mlpserve::cuda
