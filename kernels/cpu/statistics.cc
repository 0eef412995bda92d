#include "kernels/cpu/statistics.h"

#include <array>
#include <cmath>

#include "kernels/cpu/panels.h"

namespace mlpserve::cpu {
namespace {

using Columns = std::array<double, kPanelColumns>;

template <typename F>  // f(value, column)
void ForEach(float* z, int64_t z_stride, int64_t rows, int64_t columns, F f) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < columns; ++c) f(z[row * z_stride + c], c);
  }
}

}  // namespace

void Normalize(const Normalization& normalization, float* z, int64_t z_stride, int64_t rows,
               int64_t columns, int64_t first_column) {
  Columns mean{};
  Columns variance{};
  ForEach(z, z_stride, rows, columns, [&](float value, int64_t c) { mean[c] += value; });
  for (double& m : mean) m /= static_cast<double>(rows);
  ForEach(z, z_stride, rows, columns, [&](float value, int64_t c) {
    const double centred = value - mean[c];
    variance[c] += centred * centred;
  });

  Columns scale{};
  Columns bias{};
  for (int64_t c = 0; c < columns; ++c) {
    const float* weights = normalization.weight_column;
    const float* biases = normalization.bias_column;
    const double weight = weights == nullptr ? normalization.weight : weights[first_column + c];
    bias[c] = biases == nullptr ? normalization.bias : biases[first_column + c];
    scale[c] = weight / std::sqrt(variance[c] / static_cast<double>(rows) + normalization.eps);
  }
  ForEach(z, z_stride, rows, columns, [&](float& value, int64_t c) {
    value = static_cast<float>((value - mean[c]) * scale[c] + bias[c]);
  });
}

}  // namespace mlpserve::cpu
