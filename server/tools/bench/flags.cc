#include "server/tools/bench/flags.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "kernels/status/status_macros.h"
#include "server/text/strict_json.h"

namespace mlpserve::tools {
namespace {

constexpr std::array kComputes = {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32,
                                  ComputeType::kFp32};

std::vector<std::string> Split(const std::string& text) { return absl::StrSplit(text, ','); }

absl::StatusOr<std::vector<int64_t>> ParseNumbers(const std::string& flag, const std::string& text,
                                                  int64_t least, int64_t most) {
  std::vector<int64_t> numbers;
  for (const std::string& part : Split(text)) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(part, &number) || number < least || number > most) {
      return FlagError(
          flag,
          absl::StrCat("whole numbers from ", least, " to ", most, ", with commas between them"),
          text);
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<std::vector<ComputeType>> ParseTypes(const std::string& text) {
  std::vector<ComputeType> types;
  std::vector<std::string> names;
  for (const ComputeType type : kComputes) names.push_back(DtypeName(type));
  for (const std::string& part : Split(text)) {
    const auto found = std::ranges::find(names, part);
    if (found == names.end()) return FlagError("--dtype", absl::StrJoin(names, ", "), part);
    types.push_back(kComputes[static_cast<size_t>(found - names.begin())]);
  }
  return types;
}

absl::StatusOr<std::vector<Epilogue>> ParseEpilogues(const Flags& flags) {
  std::vector<Epilogue> epilogues;
  if (!flags.ops.empty()) {
    MLPSERVE_ASSIGN_OR_RETURN(Epilogue ops, ParseOps(flags.ops));
    epilogues.push_back(std::move(ops));
    return epilogues;
  }
  for (const std::string& name : Split(flags.epilogue)) {
    MLPSERVE_ASSIGN_OR_RETURN(Epilogue epilogue, NamedEpilogue(name));
    epilogues.push_back(std::move(epilogue));
  }
  return epilogues;
}

absl::StatusOr<Variants> ParseVariants(const std::string& text) {
  if (text == "chosen") return Variants{};
  if (text == "all") return Variants{.kind = Variants::Kind::kAll, .names = {}};
  Variants variants{.kind = Variants::Kind::kNamed, .names = Split(text)};
  for (const std::string& name : variants.names) {
    if (name.empty()) return FlagError("--variants", "chosen, all or names of variants", text);
  }
  return variants;
}

absl::StatusOr<std::vector<Problem>> MakeProblems(const Flags& flags) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto types, ParseTypes(flags.dtype));
  MLPSERVE_ASSIGN_OR_RETURN(const auto epilogues, ParseEpilogues(flags));
  MLPSERVE_ASSIGN_OR_RETURN(const auto m, ParseNumbers("--m", flags.m, 1, kMostRows));
  MLPSERVE_ASSIGN_OR_RETURN(const auto n, ParseNumbers("--n", flags.n, 1, kMaxBlockFeatures));
  MLPSERVE_ASSIGN_OR_RETURN(const auto k, ParseNumbers("--k", flags.k, 1, kMaxBlockFeatures));
  MLPSERVE_ASSIGN_OR_RETURN(const auto layers,
                            ParseNumber("--layers", flags.layers, 1, kMostLayers));
  MLPSERVE_ASSIGN_OR_RETURN(const auto padding,
                            ParseNumber("--padding", flags.padding, -1, kMostPadding));
  std::vector<Problem> problems;
  for (const ComputeType type : types)
    for (const int64_t outputs : n)
      for (const int64_t inputs : k)
        for (const int64_t rows : m)
          for (const Epilogue& epilogue : epilogues) {
            problems.push_back({.m = rows,
                                .n = outputs,
                                .k = inputs,
                                .compute = type,
                                .epilogue = epilogue,
                                .layers = layers,
                                .padding = padding});
            MLPSERVE_RETURN_IF_ERROR(Validate(problems.back()));
          }
  return problems;
}

absl::StatusOr<Mode> ParseMode(const std::string& text) {
  if (text == "time") return Mode::kTime;
  if (text == "check") return Mode::kCheck;
  if (text == "profile") return Mode::kProfile;
  return FlagError("--mode", "time, check or profile", text);
}

// Reads one line, from which the comment was removed.
absl::StatusOr<Step> ParseLine(const std::vector<std::string>& words, Flags flags) {
  flags.mode = words.front();
  const auto named = NamedFlags(flags);
  for (size_t i = 1; i < words.size(); ++i) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(words[i], absl::MaxSplits('=', 1));
    const auto flag = std::ranges::find(named, parts.first, [](const auto& f) { return f.first; });
    if (flag == named.end() || words[i].find('=') == std::string::npos) {
      const auto name = [](std::string* out, const auto& f) { out->append(f.first + "="); };
      return absl::InvalidArgumentError(absl::StrCat(
          "expected one of ", absl::StrJoin(named, ", ", name), " found ", Quoted(words[i])));
    }
    *flag->second = parts.second;
  }
  return MakeStep(flags);
}

}  // namespace

absl::Status FlagError(const std::string& flag, const std::string& expected,
                       const std::string& found) {
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": expected ", expected, ", found ", Quoted(found)));
}

absl::StatusOr<int> ParseNumber(const std::string& flag, const std::string& text, int64_t least,
                                int64_t most) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < least || number > most) {
    return FlagError(flag, absl::StrCat("a whole number from ", least, " to ", most), text);
  }
  return static_cast<int>(number);
}

std::vector<std::pair<std::string, std::string*>> NamedFlags(Flags& flags) {
  return {{"m", &flags.m},
          {"n", &flags.n},
          {"k", &flags.k},
          {"dtype", &flags.dtype},
          {"epilogue", &flags.epilogue},
          {"ops", &flags.ops},
          {"variants", &flags.variants},
          {"layers", &flags.layers},
          {"padding", &flags.padding},
          {"seconds", &flags.seconds}};
}

absl::StatusOr<Step> MakeStep(const Flags& flags) {
  Step step;
  MLPSERVE_ASSIGN_OR_RETURN(step.mode, ParseMode(flags.mode));
  MLPSERVE_ASSIGN_OR_RETURN(step.problems, MakeProblems(flags));
  MLPSERVE_ASSIGN_OR_RETURN(step.variants, ParseVariants(flags.variants));
  double& seconds = step.time.seconds;
  if (!absl::SimpleAtod(flags.seconds, &seconds) || !(seconds > 0 && seconds <= 60)) {
    return FlagError("--seconds", "a number above 0, at most 60", flags.seconds);
  }
  return step;
}

absl::StatusOr<std::vector<Step>> ParsePlan(const std::string& text, const std::string& name,
                                            const Flags& defaults) {
  std::vector<Step> steps;
  int number = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    ++number;
    const std::vector<std::string> words =
        absl::StrSplit(line.substr(0, line.find('#')), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    absl::StatusOr<Step> step = ParseLine(words, defaults);
    if (!step.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ", line ", number, ": ", std::string(step.status().message())));
    }
    steps.push_back(*std::move(step));
  }
  if (!steps.empty()) return steps;
  return absl::InvalidArgumentError(absl::StrCat(name, ": expected steps, found none"));
}

}  // namespace mlpserve::tools
