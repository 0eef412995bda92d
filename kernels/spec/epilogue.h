// An epilogue as data: the ops that a layer applies to each value z of x·Wᵀ + bias before z is
// stored. Every backend reads this: the float64 oracle interprets it, the CPU backend runs it over
// SIMD vectors, the CUDA backend emits it as source text.
//
// An EpilogueSpec comes in two forms of one type: as written (what model.json says) and canonical
// (what Canonicalize in canonical.h makes of it: bias, scales, additions and running batch norm are
// folded into MultiplyAdd). Backends other than the oracle accept the canonical form only.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "kernels/spec/functions.h"

namespace mlpserve {

// A number that is the same for every column, or one that each column has its own of.
struct Operand {
  double value = 0;  // used where column < 0
  int column = -1;   // index into EpilogueSpec::columns

  bool is_column() const { return column >= 0; }
  bool operator==(const Operand&) const = default;
};

struct Op;

// z * scale + shift. As written: `scale` (shift 0) and `add` (scale 1).
struct MultiplyAdd {
  Operand scale{.value = 1};
  Operand shift{.value = 0};
  bool operator==(const MultiplyAdd&) const = default;
};

// min(max(z, min), max) with NaN passed through, as torch.clamp.
struct Clamp {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool operator==(const Clamp&) const = default;
};

// A function of z alone (functions.h), as torch.nn.functional defines it.
struct Pointwise {
  Function function = Function::kRelu;
  double parameter = 0;
  bool operator==(const Pointwise&) const = default;
};

struct Residual {  // z + ops(z)
  std::vector<Op> ops;
  bool operator==(const Residual&) const = default;
};

struct Gate {  // z * ops(z)
  std::vector<Op> ops;
  bool operator==(const Gate&) const = default;
};

// z + x of the block (not of the layer) as stored for the first layer: rounded to the compute type
// where that is FP16 or BF16, untouched where it is FP32 or TF32.
struct AddInput {
  bool operator==(const AddInput&) const = default;
};

// (z - mean) / sqrt(variance + eps) * weight + bias with the stored mean and variance. Only in the
// form as written: canonical epilogues hold a MultiplyAdd instead.
struct RunningBatchNorm {
  Operand weight, bias, mean, variance;
  double eps = 1e-5;
  bool operator==(const RunningBatchNorm&) const = default;
};

// The same with the mean and the biased variance of z over the rows of one request. Only at the top
// level of an epilogue.
struct BatchNorm {
  Operand weight, bias;
  double eps = 1e-5;
  bool operator==(const BatchNorm&) const = default;
};

struct Op {
  std::variant<MultiplyAdd, Clamp, Pointwise, Residual, Gate, AddInput, RunningBatchNorm, BatchNorm>
      value;
  bool operator==(const Op&) const = default;
};

struct EpilogueSpec {
  std::vector<Op> ops;
  std::vector<std::vector<float>> columns;  // each [outputs of the layer]
};

// Exact text of the ops with columns by index ("scale c0 shift c1 | clamp -2 2 | gelu_tanh"): equal
// text means equal generated code, whatever the columns hold.
std::string ToString(const EpilogueSpec& epilogue);

bool UsesBatchStatistics(const EpilogueSpec& epilogue);
bool UsesInput(const EpilogueSpec& epilogue);  // holds AddInput at any depth

}  // namespace mlpserve
