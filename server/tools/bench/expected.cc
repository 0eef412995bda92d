#include "server/tools/bench/expected.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/spec/rounding.h"
#include "server/tools/bench/parallel.h"

namespace mlpserve::tools {
namespace {

// Columns [begin, end) of a matrix that has `columns` columns.
template <typename T>
std::vector<T> Slice(std::span<const T> matrix, int64_t columns, int64_t begin, int64_t end) {
  std::vector<T> slice;
  const int64_t rows = static_cast<int64_t>(matrix.size()) / columns;
  slice.reserve(static_cast<size_t>(rows * (end - begin)));
  for (int64_t row = 0; row < rows; ++row) {
    const auto from = matrix.begin() + row * columns;
    slice.insert(slice.end(), from + begin, from + end);
  }
  return slice;
}

LayerSpec Slice(const LayerSpec& layer, int64_t begin, int64_t end) {
  LayerSpec slice{.name = layer.name, .inputs = layer.inputs, .outputs = end - begin};
  if (!layer.bias.empty()) {
    slice.bias.assign(layer.bias.begin() + begin, layer.bias.begin() + end);
  }
  slice.epilogue.ops = layer.epilogue.ops;
  for (const std::vector<float>& column : layer.epilogue.columns) {
    slice.epilogue.columns.emplace_back(column.begin() + begin, column.begin() + end);
  }
  return slice;
}

// Runs FinishOracle for some columns on all processors.
OracleResult Finish(const Problem& p, const LayerSpec& layer, ComputeType compute, Columns columns,
                    const ProductSums& sums, std::span<const float> x) {
  OracleResult whole{.rows = p.m, .columns = columns.count, .values = {}, .bounds = {}};
  whole.values.resize(static_cast<size_t>(p.m * columns.count));
  whole.bounds.resize(whole.values.size());
  const bool adds_input = UsesInput(layer.epilogue);
  InParallel(columns.count, [&](int64_t begin, int64_t end) {
    const ProductSums part{.sums = Slice<double>(sums.sums, columns.count, begin, end),
                           .magnitudes = Slice<double>(sums.magnitudes, columns.count, begin, end)};
    const std::vector<float> input =
        adds_input ? Slice<float>(x, p.n, columns.first + begin, columns.first + end)
                   : std::vector<float>{};
    const OracleResult done = FinishOracle(Slice(layer, columns.first + begin, columns.first + end),
                                           compute, p.stored(), part, input, p.m);
    const int64_t width = end - begin;
    for (int64_t row = 0; row < p.m; ++row) {
      std::copy_n(done.values.begin() + row * width, width,
                  whole.values.begin() + row * columns.count + begin);
      std::copy_n(done.bounds.begin() + row * width, width,
                  whole.bounds.begin() + row * columns.count + begin);
    }
  });
  return whole;
}

}  // namespace

std::vector<Columns> ColumnsAtATime(const Problem& p, int64_t most_values) {
  const int64_t width = std::max<int64_t>(1, most_values / p.m);
  std::vector<Columns> all;
  for (int64_t first = 0; first < p.n; first += width) {
    all.push_back({.first = first, .count = std::min(width, p.n - first)});
  }
  return all;
}

ProductSums MultiplyOnHost(std::span<const float> x, const Tensor& weight, int64_t m, int64_t k,
                           Columns columns, ComputeType rounded_to) {
  std::vector<double> rows(x.size());
  std::ranges::transform(x, rows.begin(), [&](float v) { return RoundTo(rounded_to, v); });
  ProductSums products;
  products.sums.resize(static_cast<size_t>(m * columns.count));
  products.magnitudes.resize(products.sums.size());
  InParallel(columns.count, [&](int64_t begin, int64_t end) {
    std::vector<float> as_given(static_cast<size_t>(k));
    std::vector<double> w(as_given.size());
    for (int64_t column = begin; column < end; ++column) {
      // Cannot fail: the weight is read from memory.
      (void)weight.Read((columns.first + column) * k, as_given);
      std::ranges::transform(as_given, w.begin(), [&](float v) { return RoundTo(rounded_to, v); });
      for (int64_t row = 0; row < m; ++row) {
        const double* values = &rows[static_cast<size_t>(row * k)];
        double sum = 0;
        double magnitude = 0;
        for (int64_t i = 0; i < k; ++i) {
          const double term = values[i] * w[static_cast<size_t>(i)];
          sum += term;
          magnitude += std::fabs(term);
        }
        products.sums[static_cast<size_t>(row * columns.count + column)] = sum;
        products.magnitudes[static_cast<size_t>(row * columns.count + column)] = magnitude;
      }
    }
  });
  return products;
}

Expected Expect(const Problem& p, const LayerSpec& layer, std::span<const float> x, Columns columns,
                const Products& products) {
  Expected expected{.values = Finish(p, layer, p.compute, columns, products.rounded, x),
                    .stored = {}};
  if (products.stored) {
    expected.stored = Finish(p, layer, ComputeType::kFp32, columns, *products.stored, x);
  }
  return expected;
}

Expected ExpectPlain(const Problem& p, Columns columns, const Products& products) {
  return Expect(p, {.name = "plain", .inputs = p.k, .outputs = p.n}, {}, columns, products);
}

double MostRelativeError(const Problem& p) {
  // Rounding the output alone gives 1.66e-3 in BF16 and 2.1e-4 in FP16, rounding the
  // operands 2.9e-4 in TF32 (truncating them 5.5e-4 and more); an epilogue that cuts off large
  // values leaves more. In FP32 the sum itself errs: one of k terms, added one by one, by 2.5e-8 *
  // sqrt(k).
  double most = 1e-6 + 5e-8 * std::sqrt(static_cast<double>(p.k));
  if (p.compute == ComputeType::kBf16) most = 2.0e-3;
  if (p.compute == ComputeType::kFp16) most = 2.7e-4;
  if (p.compute == ComputeType::kTf32) most = 3.5e-4;
  // The norm of few values varies more, so that its limit is wider.
  return most * (1 + 2 / std::sqrt(static_cast<double>(p.m) * static_cast<double>(p.n)));
}

void Judge::Add(Columns columns, const Expected& expected, std::span<const float> y) {
  WorstValue worst = FindWorst(expected.values, y);
  if (!worst.ok()) {
    worst.column += columns.first;
    Refuse(ToString(worst));
    return;
  }
  squares_ += FindSquaredError(expected.stored ? *expected.stored : expected.values, y);
}

Verdict Judge::Finish() const {
  Verdict verdict{
      .is_right = is_right_so_far(), .relative_error = squares_.Relative(), .reason = reason_};
  if (verdict.is_right && bounds_error_ && !(verdict.relative_error <= most_error_)) {
    verdict.is_right = false;
    verdict.reason = absl::StrFormat("expected a relative error of at most %.2g, found %.2g",
                                     most_error_, verdict.relative_error);
  }
  return verdict;
}

}  // namespace mlpserve::tools
