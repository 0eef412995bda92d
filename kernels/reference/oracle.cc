#include "kernels/reference/oracle.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "kernels/reference/bounded.h"
#include "kernels/reference/epilogue.h"
#include "kernels/spec/rounding.h"

namespace mlpserve {
namespace {

using reference::Bounded;
using reference::EpilogueReference;
using reference::kUnknown;
using reference::Matrix;

constexpr double kSmallestNormal = 0x1p-126;

// x as the first product reads it. It has no error: the oracle rounds as the backend does.
Matrix<Bounded> RoundedInput(const BlockSpec& block, std::span<const float> x, int64_t rows,
                             ComputeType type) {
  Matrix<Bounded> input{.rows = rows, .columns = block.input_features(), .values = {}};
  for (float value : x) input.values.push_back({.value = RoundTo(type, value)});
  return input;
}

// AddInput sees what is stored: TF32 rounds only what a product reads.
ComputeType StoredAs(ComputeType type) {
  return type == ComputeType::kTf32 ? ComputeType::kFp32 : type;
}

// The error that reading an operand brings: a backend may break ties differently in TF32, where
// activations are rounded on reading.
double ReadingError(ComputeType compute, const Bounded& x) {
  return x.bound + (compute == ComputeType::kTf32 ? 0x1p-11 * std::fabs(x.value) : 0);
}

// A product's sum: to the bound that its operands bring, the error of FP32 additions is added.
Bounded SumInFp32(int64_t inputs, ComputeType compute, Bounded sum, double magnitude,
                  bool unknown) {
  unknown |= std::isfinite(sum.value) && magnitude > std::numeric_limits<float>::max();
  if (unknown) return {sum.value, kUnknown};
  if (!std::isfinite(sum.value)) return {sum.value, 0};
  const double smallest =
      compute == ComputeType::kBf16 ? kSmallestNormal : reference::kSmallestFp32;
  const double terms = static_cast<double>(inputs);
  return reference::InFp32(sum.value, sum.bound,
                           reference::kOpError * std::sqrt(terms) * magnitude + terms * smallest);
}

// x·Wᵀ + bias for one output. BF16 instructions may take subnormal numbers as zero.
Bounded Dot(const LayerSpec& layer, ComputeType compute, std::span<const Bounded> x,
            std::span<const float> weight, float bias) {
  double sum = bias;
  double magnitude = std::fabs(bias);
  double carried = 0;
  bool unknown = false;
  const bool may_flush = compute == ComputeType::kBf16;
  for (size_t k = 0; k < x.size(); ++k) {
    const double w = weight[k];
    const double term = x[k].value * w;
    sum += term;
    magnitude += std::fabs(term);
    carried += std::fabs(w) * ReadingError(compute, x[k]);
    unknown |= x[k].is_unknown();
    const bool subnormal =
        std::fabs(x[k].value) < kSmallestNormal || std::fabs(w) < kSmallestNormal;
    if (may_flush && subnormal) carried += std::fabs(term);
  }
  return SumInFp32(layer.inputs, compute, {sum, carried}, magnitude, unknown);
}

Matrix<Bounded> Product(const LayerSpec& layer, ComputeType compute, const Matrix<Bounded>& x) {
  std::vector<float> weight = layer.weight.ToFloats().value();
  for (float& w : weight) w = RoundTo(compute, w);
  Matrix<Bounded> z{.rows = x.rows, .columns = layer.outputs, .values = {}};
  z.values.resize(x.rows * layer.outputs);
  for (int64_t row = 0; row < x.rows; ++row) {
    const std::span<const Bounded> x_row(&x.at(row, 0), layer.inputs);
    for (int64_t n = 0; n < layer.outputs; ++n) {
      const std::span<const float> w_row(&weight[n * layer.inputs], layer.inputs);
      z.at(row, n) = Dot(layer, compute, x_row, w_row, layer.bias.empty() ? 0 : layer.bias[n]);
    }
  }
  return z;
}

// A value that is stored in `type` and read back. One that certainly overflows the format becomes
// infinity.
Bounded Store(DataType type, Bounded z) {
  double unit = 0x1p-24;
  double step = 0x1p-150;         // half the smallest subnormal number
  double limit = 0x1.ffffffp127;  // half-way between the largest number and the next power of two
  if (type == DataType::kFp16) {
    unit = 0x1p-11;
    step = 0x1p-25;
    limit = 65520;
  } else if (type == DataType::kBf16) {
    unit = 0x1p-8;
    step = 0x1p-134;
    limit = 0x1.ffp127;
  }
  if (z.is_unknown() || !std::isfinite(z.value)) return z;
  const double magnitude = std::fabs(z.value);
  if (magnitude - z.bound >= limit) return {std::copysign(kUnknown, z.value), 0};
  if (magnitude + z.bound >= limit) return {z.value, kUnknown};
  return {z.value, z.bound + unit * (magnitude + z.bound) + step};
}

double Ratio(double expected, double bound, double actual) {
  if (std::isinf(bound)) return 0;
  if (std::isnan(expected) || std::isnan(actual)) {
    return std::isnan(expected) && std::isnan(actual) ? 0 : kUnknown;
  }
  if (actual == expected) return 0;
  if (std::isinf(expected) || std::isinf(actual)) return kUnknown;
  return std::fabs(actual - expected) / bound;
}

OracleResult ResultOf(const Matrix<Bounded>& values) {
  OracleResult result{.rows = values.rows, .columns = values.columns, .values = {}, .bounds = {}};
  for (const Bounded& value : values.values) {
    result.values.push_back(value.value);
    result.bounds.push_back(value.bound);
  }
  return result;
}

}  // namespace

OracleResult EvaluateOracle(const BlockSpec& block, std::span<const float> x, int64_t rows) {
  const Matrix<Bounded> stored = RoundedInput(block, x, rows, StoredAs(block.compute));
  Matrix<Bounded> values = RoundedInput(block, x, rows, block.compute);
  for (const LayerSpec& layer : block.layers) {
    Matrix<Bounded> z = Product(layer, block.compute, values);
    EpilogueReference<Bounded>(layer.epilogue, stored).Apply(z);
    const bool last = &layer == &block.layers.back();
    const DataType type = last ? block.output_type : StorageType(block.compute);
    for (Bounded& value : z.values) value = Store(type, value);
    values = std::move(z);
  }
  return ResultOf(values);
}

OracleResult FinishOracle(const LayerSpec& layer, ComputeType compute, DataType output,
                          const ProductSums& product, std::span<const float> input, int64_t rows) {
  Matrix<Bounded> stored{.rows = rows, .columns = layer.outputs, .values = {}};
  for (float value : input) stored.values.push_back({.value = RoundTo(StoredAs(compute), value)});
  Matrix<Bounded> z{.rows = rows, .columns = layer.outputs, .values = {}};
  z.values.resize(product.sums.size());
  for (size_t i = 0; i < z.values.size(); ++i) {
    const double bias = layer.bias.empty() ? 0 : layer.bias[i % layer.outputs];
    const double magnitude = product.magnitudes[i];
    const double carried = ReadingError(compute, {.value = magnitude});
    z.values[i] = SumInFp32(layer.inputs, compute, {product.sums[i] + bias, carried},
                            magnitude + std::fabs(bias), false);
  }
  EpilogueReference<Bounded>(layer.epilogue, stored).Apply(z);
  for (Bounded& value : z.values) value = Store(output, value);
  return ResultOf(z);
}

std::vector<float> EvaluatePlainFp32(const BlockSpec& block, std::span<const float> x,
                                     int64_t rows) {
  const Matrix<float> input{
      .rows = rows, .columns = block.input_features(), .values = {x.begin(), x.end()}};
  Matrix<float> values = input;
  for (const LayerSpec& layer : block.layers) {
    const std::vector<float> weight = layer.weight.ToFloats().value();
    Matrix<float> z{.rows = rows, .columns = layer.outputs, .values = {}};
    z.values.resize(rows * layer.outputs);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t n = 0; n < layer.outputs; ++n) {
        float sum = 0;
        for (int64_t k = 0; k < layer.inputs; ++k) {
          sum += values.at(row, k) * weight[n * layer.inputs + k];
        }
        z.at(row, n) = sum + (layer.bias.empty() ? 0 : layer.bias[n]);
      }
    }
    EpilogueReference<float>(layer.epilogue, input).Apply(z);
    values = std::move(z);
  }
  return values.values;
}

WorstValue FindWorst(const OracleResult& expected, std::span<const float> actual) {
  WorstValue worst{.ratio = -1};
  if (actual.size() != expected.values.size()) {
    return {.expected = static_cast<double>(expected.values.size()),
            .actual = static_cast<double>(actual.size()),
            .ratio = kUnknown};
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    const double ratio = Ratio(expected.values[i], expected.bounds[i], actual[i]);
    if (ratio <= worst.ratio) continue;
    worst = {.row = static_cast<int64_t>(i) / expected.columns,
             .column = static_cast<int64_t>(i) % expected.columns,
             .expected = expected.values[i],
             .actual = actual[i],
             .bound = expected.bounds[i],
             .ratio = ratio};
  }
  return worst;
}

std::string ToString(const WorstValue& worst) {
  return absl::StrFormat(
      "worst at row %d, column %d: expected %.9g, actual %.9g, bound %.3g (%.3g of it)", worst.row,
      worst.column, worst.expected, worst.actual, worst.bound, worst.ratio);
}

SquaredError FindSquaredError(const OracleResult& expected, std::span<const float> actual) {
  SquaredError sums;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(expected.values[i]) || std::isinf(expected.bounds[i])) continue;
    const double difference = actual[i] - expected.values[i];
    sums.error += difference * difference;
    sums.reference += expected.values[i] * expected.values[i];
  }
  return sums;
}

double SquaredError::Relative() const {
  return std::sqrt(reference == 0 ? error : error / reference);
}

double RelativeError(const OracleResult& expected, std::span<const float> actual) {
  return FindSquaredError(expected, actual).Relative();
}

}  // namespace mlpserve
