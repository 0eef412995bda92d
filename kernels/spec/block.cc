#include "kernels/spec/block.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

constexpr int64_t kMaxFeatures = int64_t{1} << 30;

absl::Status Invalid(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

bool IsFiniteFp32(double value) { return std::isfinite(static_cast<float>(value)); }

// Checks the ops of one epilogue. Every error begins with the layer and the op's path.
class EpilogueCheck {
 public:
  EpilogueCheck(const LayerSpec& layer, int64_t input_features, std::string where)
      : layer_(layer), input_features_(input_features), where_(std::move(where)) {}

  absl::Status Columns() const {
    const std::vector<std::vector<float>>& columns = layer_.epilogue.columns;
    for (size_t i = 0; i < columns.size(); ++i) {
      if (static_cast<int64_t>(columns[i].size()) == layer_.outputs) continue;
      return Invalid(absl::StrCat(where_, "epilogue.columns[", i, "]"),
                     absl::StrCat("expected ", layer_.outputs,
                                  " values, one for each output, found ", columns[i].size()));
    }
    return absl::OkStatus();
  }

  absl::Status Ops(const std::vector<Op>& ops, const std::string& path, int depth) {
    for (size_t i = 0; i < ops.size(); ++i) {
      path_ = absl::StrCat(where_, path, "[", i, "]");
      depth_ = depth;
      relative_path_ = absl::StrCat(path, "[", i, "]");
      MLPSERVE_RETURN_IF_ERROR(
          std::visit([this](const auto& op) { return Check(op); }, ops[i].value));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Check(const MultiplyAdd& op) {
    MLPSERVE_RETURN_IF_ERROR(CheckOperand(op.scale, "scale"));
    return CheckOperand(op.shift, "shift");
  }

  absl::Status Check(const Clamp& op) {
    if (op.min <= op.max) return absl::OkStatus();
    return Invalid(path_,
                   absl::StrCat("expected min <= max, found min ", op.min, " and max ", op.max));
  }

  absl::Status Check(const Pointwise& op) {
    if (IsFiniteFp32(op.parameter)) return absl::OkStatus();
    return Invalid(path_, absl::StrCat("expected a finite FP32 parameter, found ", op.parameter));
  }

  absl::Status Check(const Residual& op) { return CheckNested(op.ops, "residual"); }
  absl::Status Check(const Gate& op) { return CheckNested(op.ops, "gate"); }

  absl::Status Check(const AddInput&) {
    if (layer_.outputs == input_features_) return absl::OkStatus();
    return Invalid(path_, absl::StrCat("add_input expected as many outputs as the block has input "
                                       "features, ",
                                       input_features_, ", found ", layer_.outputs));
  }

  absl::Status Check(const RunningBatchNorm& op) {
    MLPSERVE_RETURN_IF_ERROR(CheckOperand(op.weight, "weight"));
    MLPSERVE_RETURN_IF_ERROR(CheckOperand(op.bias, "bias"));
    MLPSERVE_RETURN_IF_ERROR(CheckOperand(op.mean, "mean"));
    MLPSERVE_RETURN_IF_ERROR(CheckOperand(op.variance, "variance"));
    if (!IsFiniteFp32(op.eps)) {
      return Invalid(path_, absl::StrCat("expected a finite eps, found ", op.eps));
    }
    if (!op.variance.is_column()) return CheckVariance(op.variance.value, op.eps, "");
    const std::vector<float>& variance = layer_.epilogue.columns[op.variance.column];
    for (size_t i = 0; i < variance.size(); ++i) {
      MLPSERVE_RETURN_IF_ERROR(CheckVariance(variance[i], op.eps, absl::StrCat(" at output ", i)));
    }
    return absl::OkStatus();
  }

  absl::Status Check(const BatchNorm& op) {
    if (depth_ > 0) {
      return Invalid(path_,
                     "batch_norm with batch statistics is allowed at the top level of an epilogue "
                     "only, found inside a residual or gate");
    }
    MLPSERVE_RETURN_IF_ERROR(CheckOperand(op.weight, "weight"));
    MLPSERVE_RETURN_IF_ERROR(CheckOperand(op.bias, "bias"));
    if (IsFiniteFp32(op.eps) && op.eps >= 0) return absl::OkStatus();
    return Invalid(path_, absl::StrCat("expected a finite eps >= 0, found ", op.eps));
  }

  // NaN passes: the column's outputs are NaN then, as in PyTorch.
  absl::Status CheckVariance(double variance, double eps, const std::string& at) const {
    if (!(variance + eps <= 0)) return absl::OkStatus();
    return Invalid(path_, absl::StrCat("expected variance + eps > 0, found variance ", variance, at,
                                       " and eps ", eps));
  }

  absl::Status CheckOperand(const Operand& operand, const char* name) const {
    const int count = static_cast<int>(layer_.epilogue.columns.size());
    if (operand.is_column()) {
      if (operand.column < count) return absl::OkStatus();
      return Invalid(path_, absl::StrCat(name, " expected a column below ", count, ", found ",
                                         operand.column));
    }
    if (IsFiniteFp32(operand.value)) return absl::OkStatus();
    return Invalid(path_,
                   absl::StrCat(name, " expected a finite FP32 number, found ", operand.value));
  }

  absl::Status CheckNested(const std::vector<Op>& ops, const char* name) {
    if (ops.empty()) {
      return Invalid(path_, absl::StrCat(name, " expected at least one op, found none"));
    }
    if (depth_ + 1 > kMaxEpilogueDepth) {
      return Invalid(path_, absl::StrCat("expected residual and gate nested at most ",
                                         kMaxEpilogueDepth, " deep, found more"));
    }
    return Ops(ops, absl::StrCat(relative_path_, ".", name, ".ops"), depth_ + 1);
  }

  const LayerSpec& layer_;
  const int64_t input_features_;
  const std::string where_;    // layers[0] "fc0":
  std::string path_;           // where_ and the path of the op being checked
  std::string relative_path_;  // epilogue[1].residual.ops[0]
  int depth_ = 0;
};

absl::Status CheckSizes(const LayerSpec& layer, const std::string& where) {
  const auto in_range = [](int64_t size) { return size >= 1 && size <= kMaxFeatures; };
  if (!in_range(layer.inputs) || !in_range(layer.outputs)) {
    return Invalid(where, absl::StrCat("expected inputs and outputs between 1 and ", kMaxFeatures,
                                       ", found ", layer.inputs, " and ", layer.outputs));
  }
  if (static_cast<int64_t>(layer.weight.size()) != layer.outputs * layer.inputs) {
    return Invalid(where, absl::StrCat("weight expected [", layer.outputs, ", ", layer.inputs,
                                       "] = ", layer.outputs * layer.inputs, " values, found ",
                                       layer.weight.size()));
  }
  if (!layer.bias.empty() && static_cast<int64_t>(layer.bias.size()) != layer.outputs) {
    return Invalid(where, absl::StrCat("bias expected ", layer.outputs, " values or none, found ",
                                       layer.bias.size()));
  }
  return absl::OkStatus();
}

}  // namespace

bool UsesBatchStatistics(const BlockSpec& block) {
  for (const LayerSpec& layer : block.layers) {
    if (UsesBatchStatistics(layer.epilogue)) return true;
  }
  return false;
}

absl::Status Validate(const BlockSpec& block) {
  if (block.layers.empty()) {
    return absl::InvalidArgumentError("layers: expected at least one layer, found none");
  }
  for (size_t i = 0; i < block.layers.size(); ++i) {
    const LayerSpec& layer = block.layers[i];
    const std::string where = absl::StrCat("layers[", i, "] \"", layer.name, "\"");
    MLPSERVE_RETURN_IF_ERROR(CheckSizes(layer, where));
    if (i > 0 && layer.inputs != block.layers[i - 1].outputs) {
      return Invalid(where,
                     absl::StrCat("inputs expected ", block.layers[i - 1].outputs,
                                  ", the outputs of the layer before, found ", layer.inputs));
    }
    EpilogueCheck check(layer, block.input_features(), where + ": ");
    MLPSERVE_RETURN_IF_ERROR(check.Columns());
    MLPSERVE_RETURN_IF_ERROR(check.Ops(layer.epilogue.ops, "epilogue", 0));
  }
  return absl::OkStatus();
}

}  // namespace mlpserve
