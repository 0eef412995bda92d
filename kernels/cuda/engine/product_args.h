// The parameters of a layer's product: what its place says of GemmArgs.
#pragma once

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/norm/statistics_args.cuh"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

// All but m, split_k and what a kernel reads in two parts for each number.
inline GemmArgs ProductArgs(const Place& place) {
  const LayerPlan& layer = place.layer;
  GemmArgs args;
  args.x = place.memory.at(layer.x);
  args.w = place.data.weight == nullptr ? nullptr : place.data.weight->get();
  args.y = place.memory.at(layer.y);
  args.block_input = place.memory.at(layer.block_input);
  args.x_stride = layer.x.stride;
  args.w_stride = layer.weight_stride();
  args.y_stride = layer.y.stride;
  args.block_input_stride = layer.block_input.stride;
  args.n = static_cast<int32_t>(layer.outputs);
  args.k = static_cast<int32_t>(layer.inputs);
  args.partials = place.memory.as<float>(Buffer::kPartials);
  args.arrivals = place.memory.as<uint32_t>(Buffer::kArrivals);
  args.epilogue = place.data.columns;
  return args;
}

// What a kernel needs that does the layer's norm of that index.
inline StatisticsArgs NormArgs(const Place& place, size_t index) {
  const NormPlan& norm = place.layer.norms[index];
  const NormData& data = place.data.norms[index];
  StatisticsArgs args;
  args.eps = norm.norm.eps;
  args.weight_column = data.weight;
  args.bias_column = data.bias;
  args.weight = static_cast<float>(norm.norm.weight.value);
  args.bias = static_cast<float>(norm.norm.bias.value);
  return args;
}

}  // namespace mlpserve::cuda
