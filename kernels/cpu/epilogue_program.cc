#include "kernels/cpu/epilogue_program.h"

#include <algorithm>

#include "kernels/cpu/panels.h"

namespace mlpserve::cpu {

LayerEpilogue::LayerEpilogue(const EpilogueSpec& epilogue, int64_t outputs) {
  for (const std::vector<float>& column : epilogue.columns) {
    columns_.emplace_back(outputs + kPanelColumns);
    std::copy(column.begin(), column.end(), columns_.back().get());
  }
  programs_.emplace_back();
  Flatten(epilogue.ops, 0);
}

LayerEpilogue::Value LayerEpilogue::Resolve(const Operand& operand) const {
  if (operand.is_column()) return {.column = columns_[operand.column].get()};
  return {.constant = static_cast<float>(operand.value)};
}

void LayerEpilogue::Flatten(const std::vector<Op>& ops, int level) {
  using Kind = EpilogueStep::Kind;
  programs_.back().levels = std::max(programs_.back().levels, level + 1);
  for (const Op& op : ops) {
    if (const auto* affine = std::get_if<MultiplyAdd>(&op.value)) {
      const Value scale = Resolve(affine->scale);
      const Value shift = Resolve(affine->shift);
      Add({.kind = Kind::kMultiplyAdd,
           .level = level,
           .a = scale.constant,
           .b = shift.constant,
           .a_column = scale.column,
           .b_column = shift.column});
    } else if (const auto* clamp = std::get_if<Clamp>(&op.value)) {
      Add({.kind = Kind::kClamp,
           .level = level,
           .a = static_cast<float>(clamp->min),
           .b = static_cast<float>(clamp->max)});
    } else if (const auto* pointwise = std::get_if<Pointwise>(&op.value)) {
      Add({.kind = Kind::kFunction,
           .function = pointwise->function,
           .level = level,
           .a = static_cast<float>(pointwise->parameter)});
    } else if (std::holds_alternative<AddInput>(op.value)) {
      Add({.kind = Kind::kAddInput, .level = level});
    } else if (const auto* residual = std::get_if<Residual>(&op.value)) {
      FlattenNested(residual->ops, level, Kind::kAddDown);
    } else if (const auto* gate = std::get_if<Gate>(&op.value)) {
      FlattenNested(gate->ops, level, Kind::kMultiplyDown);
    } else if (const auto* norm = std::get_if<BatchNorm>(&op.value)) {
      normalizations_.push_back({.weight = norm->weight.value,
                                 .bias = norm->bias.value,
                                 .weight_column = Resolve(norm->weight).column,
                                 .bias_column = Resolve(norm->bias).column,
                                 .eps = norm->eps});
      programs_.emplace_back();
    }
  }
}

void LayerEpilogue::FlattenNested(const std::vector<Op>& ops, int level, EpilogueStep::Kind join) {
  Add({.kind = EpilogueStep::Kind::kCopyUp, .level = level});
  Flatten(ops, level + 1);
  Add({.kind = join, .level = level});
}

}  // namespace mlpserve::cpu
