#include "client/load/values.h"

#include <cmath>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::load {
namespace {

constexpr size_t kMostValues = 1000;

absl::Status Wrong(const std::string& part, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", std::string(expected), ", found '", part, "'"));
}

absl::StatusOr<double> ParseNumber(const std::string& text) {
  double value = 0;
  if (absl::SimpleAtod(text, &value) && std::isfinite(value)) return value;
  return Wrong(text, "a number");
}

// "FROM:TO:STEP" or "FROM:TO:xFACTOR".
absl::Status AppendRange(const std::string& part, std::vector<double>& values) {
  const std::vector<std::string> fields = absl::StrSplit(part, ':');
  if (fields.size() != 3 || fields[2].empty())
    return Wrong(part, "FROM:TO:STEP or FROM:TO:xFACTOR");
  const bool multiply = fields[2][0] == 'x';
  const absl::StatusOr<double> from = ParseNumber(fields[0]);
  const absl::StatusOr<double> to = ParseNumber(fields[1]);
  const absl::StatusOr<double> step = ParseNumber(fields[2].substr(multiply ? 1 : 0));
  for (const auto* number : {&from, &to, &step}) {
    if (!number->ok()) return number->status();
  }
  if (*from > *to || *step <= (multiply ? 1 : 0) || (multiply && *from <= 0)) {
    return Wrong(part, "a range that goes upwards");
  }
  const double most = *to * (1 + 1e-9);
  for (int i = 0; values.size() <= kMostValues; ++i) {
    const double value = multiply ? *from * std::pow(*step, i) : *from + *step * i;
    if (value > most) break;
    values.push_back(value);
  }
  return absl::OkStatus();
}

absl::Status Append(const std::string& part, std::vector<double>& values) {
  if (part.find(':') != std::string::npos) return AppendRange(part, values);
  MLPSERVE_ASSIGN_OR_RETURN(const double value, ParseNumber(part));
  values.push_back(value);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<double>> ParseValues(std::string_view text, double least, double most) {
  std::vector<double> values;
  const std::vector<std::string> parts = absl::StrSplit(std::string(text), ',');
  for (const std::string& part : parts) {
    MLPSERVE_RETURN_IF_ERROR(Append(part, values));
  }
  if (values.size() > kMostValues) return Wrong(std::string(text), "at most 1,000 values");
  for (const double value : values) {
    if (value < least || value > most) {
      return Wrong(absl::StrCat(value), absl::StrCat("values from ", least, " to ", most));
    }
  }
  return values;
}

absl::StatusOr<std::vector<int>> ParseCounts(std::string_view text, int least, int most) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<double> values, ParseValues(text, least, most));
  std::vector<int> counts;
  for (const double value : values) {
    if (value != std::floor(value)) return Wrong(absl::StrCat(value), "whole numbers");
    counts.push_back(static_cast<int>(value));
  }
  return counts;
}

}  // namespace mlpserve::load
