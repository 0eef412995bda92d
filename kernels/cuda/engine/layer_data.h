// A layer's numbers on the device, which all lanes read and no kernel writes.
//
// Threads: UploadLayer from any, each with a stream of its own.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/tensor_copier.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

// The vectors of a batch norm's pass.
struct NormData {
  EpilogueArgs columns;
  const float* weight = nullptr;  // [outputs], or null: one number for all, which the plan holds
  const float* bias = nullptr;
};

struct LayerData {
  // The weight in the format of the products, and in two parts for each number; null where no
  // chosen kernel reads it.
  std::shared_ptr<const DeviceMemory> weight, split_weight;
  EpilogueArgs columns;  // of the product's epilogue
  std::vector<NormData> norms;
  std::shared_ptr<const std::vector<DeviceMemory>> vectors;  // what the pointers above point into
};

// Copies, converts and waits. The split weight is there if the plan has one.
// Errors: RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, the device is lost; those of compiling.
absl::StatusOr<LayerData> UploadLayer(const LayerSpec& layer, const LayerPlan& plan,
                                      Kernels& kernels, TensorCopier& copier, const Stream& stream);

}  // namespace mlpserve::cuda
