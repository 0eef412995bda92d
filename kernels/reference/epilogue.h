// Applies an epilogue as written (or canonical: it is the same data) to a whole matrix, one op
// after the other, over float or over Bounded numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <variant>
#include <vector>

#include "kernels/reference/bounded.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::reference {

template <typename Number>
struct Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<Number> values;  // [rows, columns]

  Number& at(int64_t row, int64_t column) { return values[row * columns + column]; }
  const Number& at(int64_t row, int64_t column) const { return values[row * columns + column]; }
};

// y = (z - mean) / sqrt(variance + eps) * weight + bias over the rows of one column.
void Normalize(double weight, double bias, double eps, std::vector<float>& column);
void Normalize(double weight, double bias, double eps, std::vector<Bounded>& column);

template <typename Number>
class EpilogueReference {
 public:
  // `input` is the block's, as AddInput reads it.
  EpilogueReference(const EpilogueSpec& epilogue, const Matrix<Number>& input)
      : epilogue_(epilogue), input_(input) {}

  void Apply(Matrix<Number>& z) const { Apply(epilogue_.ops, z); }

 private:
  void Apply(const std::vector<Op>& ops, Matrix<Number>& z) const {
    for (const Op& op : ops) {
      std::visit([this, &z](const auto& o) { this->Apply(o, z); }, op.value);
    }
  }

  template <typename F>  // f(value, row, column)
  static void ForEach(Matrix<Number>& z, F f) {
    for (int64_t row = 0; row < z.rows; ++row) {
      for (int64_t column = 0; column < z.columns; ++column) {
        z.at(row, column) = f(z.at(row, column), row, column);
      }
    }
  }

  void Apply(const MultiplyAdd& op, Matrix<Number>& z) const {
    ForEach(z, [&](Number v, int64_t, int64_t column) {
      return MultiplyAndAdd(v, Value(op.scale, column), Value(op.shift, column));
    });
  }

  void Apply(const Clamp& op, Matrix<Number>& z) const {
    ForEach(z, [&](Number v, int64_t, int64_t) { return Limit(v, op); });
  }

  void Apply(const Pointwise& op, Matrix<Number>& z) const {
    ForEach(z, [&](Number v, int64_t, int64_t) { return Evaluate(op, v); });
  }

  void Apply(const Residual& op, Matrix<Number>& z) const {
    Matrix<Number> inner = z;
    Apply(op.ops, inner);
    ForEach(z, [&](Number v, int64_t r, int64_t c) { return Sum(v, inner.at(r, c)); });
  }

  void Apply(const Gate& op, Matrix<Number>& z) const {
    Matrix<Number> inner = z;
    Apply(op.ops, inner);
    ForEach(z, [&](Number v, int64_t r, int64_t c) { return Product(v, inner.at(r, c)); });
  }

  void Apply(const AddInput&, Matrix<Number>& z) const {
    ForEach(z, [&](Number v, int64_t r, int64_t c) { return Sum(v, input_.at(r, c)); });
  }

  void Apply(const RunningBatchNorm& op, Matrix<Number>& z) const {
    ForEach(z, [&](Number v, int64_t, int64_t c) {
      const double deviation = std::sqrt(Value(op.variance, c) + op.eps);
      const Number centred = MultiplyAndAdd(v, 1, -Value(op.mean, c));
      return MultiplyAndAdd(MultiplyAndAdd(centred, 1 / deviation, 0), Value(op.weight, c),
                            Value(op.bias, c));
    });
  }

  void Apply(const BatchNorm& op, Matrix<Number>& z) const {
    std::vector<Number> column(z.rows);
    for (int64_t c = 0; c < z.columns; ++c) {
      for (int64_t r = 0; r < z.rows; ++r) column[r] = z.at(r, c);
      Normalize(Value(op.weight, c), Value(op.bias, c), op.eps, column);
      for (int64_t r = 0; r < z.rows; ++r) z.at(r, c) = column[r];
    }
  }

  double Value(const Operand& operand, int64_t column) const {
    return operand.is_column() ? epilogue_.columns[operand.column][column] : operand.value;
  }

  const EpilogueSpec& epilogue_;
  const Matrix<Number>& input_;
};

}  // namespace mlpserve::reference
