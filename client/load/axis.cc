#include "client/load/axis.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mlpserve::load {
namespace {

constexpr size_t kMostTicks = 8;
constexpr double kRound[] = {1, 2, 5, 10};

double Decade(double value) { return std::pow(10, std::floor(std::log10(value) + 1e-9)); }

double RoundDown(double value) {
  const double decade = Decade(value);
  double best = decade;
  for (const double step : kRound) {
    if (step * decade <= value * (1 + 1e-9)) best = step * decade;
  }
  return best;
}

double RoundUp(double value) {
  const double decade = Decade(value);
  for (const double step : kRound) {
    if (step * decade >= value * (1 - 1e-9)) return step * decade;
  }
  return 10 * decade;
}

// 1, 2 and 5 times the powers of ten; the powers alone where that is too many.
std::vector<double> LogarithmicTicks(double low, double high) {
  std::vector<double> ticks, powers;
  for (double decade = Decade(low); decade <= high * (1 + 1e-9); decade *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      const double tick = step * decade;
      if (tick < low * (1 - 1e-9) || tick > high * (1 + 1e-9)) continue;
      ticks.push_back(tick);
      if (step == 1) powers.push_back(tick);
    }
  }
  return ticks.size() <= kMostTicks ? ticks : powers;
}

}  // namespace

double Axis::Fraction(double value) const {
  if (!logarithmic) return (value - low) / (high - low);
  return std::log(std::max(value, low) / low) / std::log(high / low);
}

Axis LinearFromZero(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, value);
  if (most <= 0) most = 1;
  const double step = RoundUp(most / 5);
  Axis axis{.high = step * std::ceil(most / step - 1e-9)};
  for (int i = 0; i * step <= axis.high * (1 + 1e-9); ++i) axis.ticks.push_back(i * step);
  return axis;
}

Axis Logarithmic(const std::vector<double>& values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (least == values.end()) return {1, 10, true, {1, 10}};
  Axis axis{RoundDown(*least), RoundUp(*most), true, {}};
  if (axis.high <= axis.low * 1.5) axis.high = RoundUp(axis.low * 2);
  if (axis.high > axis.low * 200) {  // only powers of ten are marked: end at them
    axis.low = Decade(axis.low);
    axis.high = RoundUp(Decade(axis.high * 9.99));
  }
  axis.ticks = LogarithmicTicks(axis.low, axis.high);
  return axis;
}

Axis OverPoints(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.empty()) return {};
  const bool logarithmic = values.front() > 0 && values.back() >= 5 * values.front();
  if (values.size() > kMostTicks) {
    if (!logarithmic) return LinearFromZero(values);
    return {values.front(), values.back(), true, LogarithmicTicks(values.front(), values.back())};
  }
  Axis axis{values.front(), values.back(), logarithmic, values};
  if (axis.low >= axis.high) {
    axis.low -= 1;
    axis.high += 1;
  }
  return axis;
}

std::string ShortNumber(double value) {
  const double size = std::abs(value);
  if (size >= 999'950) return absl::StrCat(std::round(value / 1e4) / 100, "M");
  if (size >= 999.95) return absl::StrCat(std::round(value / 100) / 10, "k");
  if (size >= 100) return absl::StrFormat("%.0f", value);
  return absl::StrCat(std::round(value * 100) / 100);
}

}  // namespace mlpserve::load
