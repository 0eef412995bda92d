#include "client/load/numbers.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mlpserve::load {
namespace {

std::string Grouped(const std::string& digits) {
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool after_digit = i > 0 && digits[i - 1] != '-';
    if (after_digit && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

// Drops trailing zeros: "12.50" becomes "12.5".
std::string Trimmed(std::string text) {
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

std::string WithCommas(double value) {
  const double size = std::abs(value);
  if (!std::isfinite(value) || size >= 1e15) return absl::StrFormat("%g", value);
  if (size >= 99.95) return Grouped(absl::StrFormat("%.0f", value));
  if (size >= 9.995) return Trimmed(absl::StrFormat("%.1f", value));
  return Trimmed(absl::StrFormat("%.2f", value));
}

std::string Micros(std::chrono::nanoseconds time) {
  return WithCommas(static_cast<double>(time.count()) / 1e3);
}

std::string WithUnit(std::chrono::nanoseconds time) {
  const auto ns = static_cast<double>(time.count());
  if (ns < 1e6) return absl::StrCat(WithCommas(ns / 1e3), " µs");
  if (ns < 1e9) return absl::StrCat(WithCommas(ns / 1e6), " ms");
  return absl::StrCat(WithCommas(ns / 1e9), " s");
}

}  // namespace mlpserve::load
