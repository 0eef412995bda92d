#include "kernels/reference/epilogue.h"

namespace mlpserve::reference {
namespace {

struct Moments {
  double mean = 0;
  double variance = 0;  // biased
};

template <typename Number, typename Value>
Moments MomentsOf(const std::vector<Number>& column, Value value) {
  Moments moments;
  for (const Number& v : column) moments.mean += value(v) / column.size();
  for (const Number& v : column) {
    const double centred = value(v) - moments.mean;
    moments.variance += centred * centred / column.size();
  }
  return moments;
}

}  // namespace

void Normalize(double weight, double bias, double eps, std::vector<float>& column) {
  const Moments moments = MomentsOf(column, [](float v) { return static_cast<double>(v); });
  const float mean = static_cast<float>(moments.mean);
  const float inverse = static_cast<float>(1 / std::sqrt(moments.variance + eps));
  for (float& v : column) {
    v = (v - mean) * inverse * static_cast<float>(weight) + static_cast<float>(bias);
  }
}

// The mean is off by at most the mean of the values' bounds and its own rounding, the variance by
// twice |centred| times the centred value's error plus that error's square; the result follows from
// both ends of the interval in which the deviation then lies.
void Normalize(double weight, double bias, double eps, std::vector<Bounded>& column) {
  const double rows = static_cast<double>(column.size());
  const Moments moments = MomentsOf(column, [](const Bounded& v) { return v.value; });
  double mean_bound = kSmallestFp32;
  for (const Bounded& v : column) {
    mean_bound += (v.bound + kOpError * std::fabs(v.value)) / rows;
  }
  double variance_bound = kOpError * moments.variance;
  for (const Bounded& v : column) {
    const double centred = std::fabs(v.value - moments.mean);
    const double error = v.bound + mean_bound + kOpError * centred;
    variance_bound += (2 * centred * error + error * error) / rows;
  }
  const double inverse = 1 / std::sqrt(moments.variance + eps);
  const double largest = 1 / std::sqrt(std::max(0.0, moments.variance - variance_bound) + eps);
  const double smallest = 1 / std::sqrt(moments.variance + variance_bound + eps);
  const double inverse_bound = std::max(largest - inverse, inverse - smallest);

  for (Bounded& v : column) {
    const double centred = v.value - moments.mean;
    const double scaled = centred * inverse * weight;
    const double carried =
        std::fabs(weight) * (std::fabs(centred) * inverse_bound + (v.bound + mean_bound) * largest);
    const double value = scaled + bias;
    const bool known = std::isfinite(mean_bound) || !std::isfinite(value);
    v = InFp32(value,
               !known                 ? kUnknown
               : std::isfinite(value) ? carried
                                      : 0,
               kOpError * (2 * std::fabs(scaled) + std::fabs(value)));
  }
}

}  // namespace mlpserve::reference
