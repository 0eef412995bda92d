// A canonical epilogue flattened for execution: a list of steps, each over a whole tile of values.
// Residual and Gate become a copy to the next level, the steps of their ops there, and a step that
// joins the two levels. Batch norm with batch statistics ends a program: an epilogue that holds it
// is several programs with a normalisation between each two.
//
// Immutable once built. Owns the columns that the steps point to.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/aligned_buffer.h"
#include "kernels/spec/block.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cpu {

struct EpilogueStep {
  enum class Kind : uint8_t {
    kMultiplyAdd,  // z * a + b
    kClamp,        // a <= z <= b
    kFunction,     // function(z), with parameter a
    kAddInput,     // z + x
    kCopyUp,       // the next level becomes a copy of this one
    kAddDown,      // this level += the next
    kMultiplyDown  // this level *= the next
  };
  Kind kind = Kind::kMultiplyAdd;
  Function function = Function::kRelu;
  int level = 0;  // 0: the tile itself; above: scratch
  float a = 0;
  float b = 0;
  const float* a_column = nullptr;  // one value for each output, if not null; padded by a panel
  const float* b_column = nullptr;
};

struct EpilogueProgram {
  std::vector<EpilogueStep> steps;
  int levels = 1;
};

// What normalises the values between two programs.
struct Normalization {
  double weight = 0;
  double bias = 0;
  const float* weight_column = nullptr;
  const float* bias_column = nullptr;
  double eps = 0;
};

class LayerEpilogue {
 public:
  // `epilogue` is canonical.
  LayerEpilogue(const EpilogueSpec& epilogue, int64_t outputs);

  const std::vector<EpilogueProgram>& programs() const { return programs_; }  // at least one
  const std::vector<Normalization>& normalizations() const { return normalizations_; }  // one less

 private:
  struct Value {
    float constant = 0;
    const float* column = nullptr;
  };

  Value Resolve(const Operand& operand) const;
  void Flatten(const std::vector<Op>& ops, int level);
  void FlattenNested(const std::vector<Op>& ops, int level, EpilogueStep::Kind join);
  void Add(EpilogueStep step) { programs_.back().steps.push_back(step); }

  std::vector<AlignedBuffer<float>> columns_;
  std::vector<EpilogueProgram> programs_;
  std::vector<Normalization> normalizations_;
};

}  // namespace mlpserve::cpu
