// An axis of a plot: what part of it a value is at, and which values are marked. Pure.
#pragma once

#include <string>
#include <vector>

namespace mlpserve::load {

struct Axis {
  double low = 0;
  double high = 1;  // above low
  bool logarithmic = false;
  std::vector<double> ticks;  // ascending, within low..high

  double Fraction(double value) const;  // 0 at low, 1 at high
};

// From 0 to a round number at or above the largest value.
Axis LinearFromZero(const std::vector<double>& values);
// From one round number to another around the values, which must be positive: logarithmic.
Axis Logarithmic(const std::vector<double>& values);
// The values themselves are marked, where they are few: logarithmic where the largest is five times
// the least or more.
Axis OverPoints(std::vector<double> values);

// "250", "1.5k", "2M".
std::string ShortNumber(double value);

}  // namespace mlpserve::load
