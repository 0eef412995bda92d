// A block as data: a chain of layers y = epilogue(x·Wᵀ + bias), with its weights in host memory.
// A backend loads one of these; nothing here knows files, wires or devices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/epilogue.h"
#include "kernels/spec/tensor.h"

namespace mlpserve {

struct LayerSpec {
  std::string name;
  int64_t inputs = 0;       // K
  int64_t outputs = 0;      // N
  Tensor weight;            // [outputs, inputs], row-major, as nn.Linear.weight
  std::vector<float> bias;  // [outputs], or empty: none
  EpilogueSpec epilogue;    // as written
};

struct BlockSpec {
  std::string name;
  DataType input_type = DataType::kFp32;
  DataType output_type = DataType::kFp32;
  ComputeType compute = ComputeType::kFp32;
  bool batch_invariant = false;  // a row's bits do not depend on the rows it is batched with
  std::vector<LayerSpec> layers;

  int64_t input_features() const { return layers.front().inputs; }
  int64_t output_features() const { return layers.back().outputs; }
};

bool UsesBatchStatistics(const BlockSpec& block);

inline constexpr int kMaxEpilogueDepth = 16;

// What a backend may rely on: at least one layer; positive sizes; weights, biases and columns of
// the declared sizes; N of a layer is K of the next; every constant finite (a clamp's bounds may be
// infinite, min <= max); eps > 0 or variance + eps > 0; column indices in range; BatchNorm at the
// top level only; AddInput only where N equals the block's input features; no empty Residual or
// Gate, nested at most kMaxEpilogueDepth deep. "Finite" is as an FP32 number. Weights and columns
// may hold NaN and infinity, which pass through as in PyTorch.
// Errors are INVALID_ARGUMENT and name the layer, the op by its path
// ("epilogue[1].residual.ops[0]"), what was expected and what was found.
absl::Status Validate(const BlockSpec& block);

}  // namespace mlpserve
