#include "tests/kernels/cuda/bounded_value.h"

#include <algorithm>
#include <cmath>

namespace mlpserve::cuda {
namespace {

constexpr double kPerOp = 0x1p-22;

double Value(const Pointwise& op, double z) {
  switch (op.function) {
    case Function::kRelu:
      return z > 0 || std::isnan(z) ? z : 0;
    case Function::kLeakyRelu:
      return z > 0 ? z : z * static_cast<float>(op.parameter);
    case Function::kElu:
      return z < 0 ? static_cast<float>(op.parameter) * std::expm1(z) : z;
    case Function::kSigmoid:
      return 1 / (1 + std::exp(-z));
    case Function::kTanh:
      return std::tanh(z);
    case Function::kSilu:
      return z / (1 + std::exp(-z));
    case Function::kMish:
      return z * std::tanh(z > 20 ? z : std::log1p(std::exp(z)));
    case Function::kSoftplus:
      return z > 20 ? z : std::log1p(std::exp(z));
    case Function::kHardsigmoid:
      return std::isnan(z) ? z : std::clamp(z + 3, 0.0, 6.0) / 6;
    case Function::kHardswish:
      return std::isnan(z) ? z : z * (std::clamp(z + 3, 0.0, 6.0) / 6);
    case Function::kGeluErf:
      return 0.5 * z * std::erfc(-z * std::sqrt(0.5));
    case Function::kGeluTanh:
      return 0.5 * z * (1 + std::tanh(std::sqrt(2 / M_PI) * (z + 0.044715 * z * z * z)));
  }
  return NAN;
}

double LargestSlope(const Pointwise& op) {
  switch (op.function) {
    case Function::kLeakyRelu:
    case Function::kElu:
      return std::max(1.0, std::fabs(op.parameter));
    case Function::kSigmoid:
      return 0.25;
    case Function::kSilu:
      return 1.10;
    case Function::kMish:
      return 1.09;
    case Function::kHardsigmoid:
      return 1.0 / 6;
    case Function::kHardswish:
      return 1.5;
    case Function::kGeluErf:
    case Function::kGeluTanh:
      return 1.13;
    case Function::kRelu:
    case Function::kTanh:
    case Function::kSoftplus:
      return 1;
  }
  return NAN;
}

class Evaluator {
 public:
  Evaluator(const EpilogueSpec& epilogue, int column, double x)
      : epilogue_(epilogue), column_(column), x_(x) {}

  BoundedValue Run(const std::vector<Op>& ops, BoundedValue z) const {
    for (const Op& op : ops) {
      z = std::visit([&](const auto& o) { return Apply(o, z); }, op.value);
      z.error += kPerOp * std::fabs(z.value);
    }
    return z;
  }

 private:
  double Number(const Operand& operand) const {
    return operand.is_column() ? epilogue_.columns[operand.column][column_]
                               : static_cast<float>(operand.value);
  }

  BoundedValue Apply(const MultiplyAdd& op, BoundedValue z) const {
    const double scale = Number(op.scale);
    return {z.value * scale + Number(op.shift), z.error * std::fabs(scale)};
  }

  BoundedValue Apply(const Clamp& op, BoundedValue z) const {
    if (std::isnan(z.value)) return z;
    const double low = static_cast<float>(op.min);
    return {std::min(std::max(z.value, low), double{static_cast<float>(op.max)}), z.error};
  }

  BoundedValue Apply(const Pointwise& op, BoundedValue z) const {
    return {Value(op, z.value), z.error * LargestSlope(op)};
  }

  BoundedValue Apply(const Residual& op, BoundedValue z) const {
    const BoundedValue inner = Run(op.ops, z);
    return {z.value + inner.value, z.error + inner.error};
  }

  BoundedValue Apply(const Gate& op, BoundedValue z) const {
    const BoundedValue inner = Run(op.ops, z);
    return {z.value * inner.value, std::fabs(z.value) * inner.error +
                                       std::fabs(inner.value) * z.error + z.error * inner.error};
  }

  BoundedValue Apply(const AddInput&, BoundedValue z) const { return {z.value + x_, z.error}; }

  BoundedValue Apply(const RunningBatchNorm&, BoundedValue) const { return {NAN, NAN}; }
  BoundedValue Apply(const BatchNorm&, BoundedValue) const { return {NAN, NAN}; }

  const EpilogueSpec& epilogue_;
  int column_;
  double x_;
};

}  // namespace

BoundedValue Evaluate(const EpilogueSpec& epilogue, BoundedValue z, int column, double x) {
  return Evaluator(epilogue, column, x).Run(epilogue.ops, z);
}

}  // namespace mlpserve::cuda
