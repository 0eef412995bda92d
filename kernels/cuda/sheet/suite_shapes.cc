#include "kernels/cuda/sheet/suite_shapes.h"

#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mlpserve::cuda {
namespace {

std::optional<ComputeType> TypeOf(const std::string& name) {
  for (const ComputeType type : {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32}) {
    if (absl::EqualsIgnoreCase(name, std::string(mlpserve::Name(type)))) return type;
  }
  return std::nullopt;
}

// Nothing unless every value is a positive whole number.
std::vector<int64_t> Numbers(const std::string& text) {
  std::vector<int64_t> numbers;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(part, &number) || number < 1) return {};
    numbers.push_back(number);
  }
  return numbers;
}

bool ReadLine(absl::string_view line, std::vector<SuiteLine>& lines) {
  std::map<std::string, std::string> words;
  for (const absl::string_view word : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(word, absl::MaxSplits('=', 1));
    words.insert(pair);
  }
  const std::vector<int64_t> outputs = Numbers(words["n"]), inputs = Numbers(words["k"]);
  SuiteLine read{.rows = Numbers(words["m"]), .blocks = absl::StrSplit(words["epilogue"], ',')};
  if (!words.contains("time") || read.rows.empty() || outputs.size() != 1 || inputs.size() != 1 ||
      words["epilogue"].empty()) {
    return false;
  }
  read.outputs = outputs[0];
  read.inputs = inputs[0];
  for (const absl::string_view name : absl::StrSplit(words["dtype"], ',')) {
    const std::optional<ComputeType> type = TypeOf(std::string(name));
    if (!type) return false;
    read.compute = *type;
    lines.push_back(read);
  }
  return true;
}

}  // namespace

absl::StatusOr<std::vector<SuiteLine>> ParseSuite(std::string_view plan) {
  std::vector<SuiteLine> lines;
  for (absl::string_view line : absl::StrSplit(absl::string_view(plan.data(), plan.size()), '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    if (ReadLine(line, lines)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(kSuitePlanPath, ": expected \"time m=ROWS n=OUTPUTS k=INPUTS dtype=TYPES ",
                     "epilogue=BLOCKS\", found \"", line, "\""));
  }
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(kSuitePlanPath, ": expected lines, found none"));
  }
  return lines;
}

}  // namespace mlpserve::cuda
