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

// Columns [begin, end) of a matrix of `columns`.
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

// FinishOracle by columns, on all processors.
OracleResult Finish(const Problem& p, const LayerSpec& layer, ComputeType compute,
                    const ProductSums& sums, std::span<const float> x) {
  OracleResult whole{.rows = p.m, .columns = p.n, .values = {}, .bounds = {}};
  whole.values.resize(static_cast<size_t>(p.m * p.n));
  whole.bounds.resize(whole.values.size());
  const bool adds_input = UsesInput(layer.epilogue);
  InParallel(p.n, [&](int64_t begin, int64_t end) {
    const ProductSums part{.sums = Slice<double>(sums.sums, p.n, begin, end),
                           .magnitudes = Slice<double>(sums.magnitudes, p.n, begin, end)};
    const std::vector<float> input =
        adds_input ? Slice<float>(x, p.n, begin, end) : std::vector<float>{};
    const OracleResult done =
        FinishOracle(Slice(layer, begin, end), compute, p.stored(), part, input, p.m);
    const int64_t width = end - begin;
    for (int64_t row = 0; row < p.m; ++row) {
      std::copy_n(done.values.begin() + row * width, width,
                  whole.values.begin() + row * p.n + begin);
      std::copy_n(done.bounds.begin() + row * width, width,
                  whole.bounds.begin() + row * p.n + begin);
    }
  });
  return whole;
}

}  // namespace

ProductSums MultiplyOnHost(std::span<const float> x, std::span<const float> weight, int64_t m,
                           int64_t n, int64_t k, ComputeType rounded_to) {
  std::vector<double> rows(x.size());
  std::ranges::transform(x, rows.begin(), [&](float v) { return RoundTo(rounded_to, v); });
  ProductSums products;
  products.sums.resize(static_cast<size_t>(m * n));
  products.magnitudes.resize(products.sums.size());
  InParallel(n, [&](int64_t begin, int64_t end) {
    std::vector<double> w(static_cast<size_t>(k));
    for (int64_t column = begin; column < end; ++column) {
      for (int64_t i = 0; i < k; ++i) {
        w[static_cast<size_t>(i)] =
            RoundTo(rounded_to, weight[static_cast<size_t>(column * k + i)]);
      }
      for (int64_t row = 0; row < m; ++row) {
        const double* values = &rows[static_cast<size_t>(row * k)];
        double sum = 0;
        double magnitude = 0;
        for (int64_t i = 0; i < k; ++i) {
          const double term = values[i] * w[static_cast<size_t>(i)];
          sum += term;
          magnitude += std::fabs(term);
        }
        products.sums[static_cast<size_t>(row * n + column)] = sum;
        products.magnitudes[static_cast<size_t>(row * n + column)] = magnitude;
      }
    }
  });
  return products;
}

Expected Expect(const Problem& p, const LayerSpec& layer, std::span<const float> x,
                const Products& products) {
  Expected expected{.values = Finish(p, layer, p.compute, products.rounded, x), .stored = {}};
  if (products.stored) {
    expected.stored = Finish(p, layer, ComputeType::kFp32, *products.stored, x);
  }
  return expected;
}

Expected ExpectPlain(const Problem& p, const Products& products) {
  return Expect(p, {.name = "plain", .inputs = p.k, .outputs = p.n}, {}, products);
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
  // A small sample scatters.
  return most * (1 + 2 / std::sqrt(static_cast<double>(p.m) * static_cast<double>(p.n)));
}

Verdict Judge(const Problem& p, const Expected& expected, std::span<const float> y,
              bool bounds_error) {
  const WorstValue worst = FindWorst(expected.values, y);
  if (!worst.ok()) return {.relative_error = worst.ratio, .reason = ToString(worst)};
  Verdict verdict{
      .is_right = true,
      .relative_error = RelativeError(expected.stored ? *expected.stored : expected.values, y),
      .reason = {}};
  const double most = MostRelativeError(p);
  if (bounds_error && !(verdict.relative_error <= most)) {
    verdict.is_right = false;
    verdict.reason = absl::StrFormat("expected a relative error of at most %.2g, found %.2g", most,
                                     verdict.relative_error);
  }
  return verdict;
}

}  // namespace mlpserve::tools
