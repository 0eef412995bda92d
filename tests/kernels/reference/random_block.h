// Random blocks for property tests: every op, nested, with columns and constants; equal seeds give
// equal blocks. A failing test prints the seed and Describe(block).
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/spec/block.h"

namespace mlpserve {

struct RandomBlockOptions {
  std::vector<int64_t> features = {8, 8};  // inputs, then the outputs of each layer
  int max_ops = 5;                         // at the top level of an epilogue
  int max_depth = 2;                       // of residual and gate
  bool batch_statistics = false;           // may hold BatchNorm
};

// Passes Validate. Weights are N(0, 1 / inputs), so that values stay near 1.
BlockSpec RandomBlock(const RandomBlockOptions& options, uint64_t seed);

// A layer of the same weights without an epilogue.
LayerSpec RandomLayer(int64_t inputs, int64_t outputs, bool bias, std::mt19937_64& random);

// [rows, features] N(0, 1), representable in `type`.
std::vector<float> RandomRows(int64_t rows, int64_t features, DataType type,
                              std::mt19937_64& random);

// The values rounded to `type`, as a tensor of it.
Tensor StoredAs(DataType type, const std::vector<float>& values);

std::string Describe(const BlockSpec& block);

}  // namespace mlpserve
