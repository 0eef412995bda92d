#include "server/tools/bench/arguments.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/text/strict_json.h"

namespace mlpserve::tools {
namespace {

constexpr std::array kComputes = {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32,
                                  ComputeType::kFp32};

// As they are typed.
struct Flags {
  std::string m = "1,16,64,256,1024", n = "8192", k = "8192";
  std::string dtype = "bf16", epilogue = "gelu,sigmoid,batch_norm", ops;
  std::string variants = "chosen", layers = "1";
  std::string seconds = "1", backend = "cuda", cpu_threads = "0";
};

absl::Status Error(const std::string& flag, const std::string& expected, const std::string& found) {
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": expected ", expected, ", found ", Quoted(found)));
}

std::vector<std::string> Split(const std::string& text) { return absl::StrSplit(text, ','); }

absl::StatusOr<std::vector<int64_t>> ParseNumbers(const std::string& flag, const std::string& text,
                                                  int64_t least, int64_t most) {
  std::vector<int64_t> numbers;
  for (const std::string& part : Split(text)) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(part, &number) || number < least || number > most) {
      return Error(
          flag,
          absl::StrCat("whole numbers from ", least, " to ", most, ", with commas between them"),
          text);
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<int> ParseNumber(const std::string& flag, const std::string& text, int64_t least,
                                int64_t most) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < least || number > most) {
    return Error(flag, absl::StrCat("a whole number from ", least, " to ", most), text);
  }
  return static_cast<int>(number);
}

absl::StatusOr<std::vector<ComputeType>> ParseTypes(const std::string& text) {
  std::vector<ComputeType> types;
  std::vector<std::string> names;
  for (const ComputeType type : kComputes) names.push_back(DtypeName(type));
  for (const std::string& part : Split(text)) {
    const auto found = std::ranges::find(names, part);
    if (found == names.end()) return Error("--dtype", absl::StrJoin(names, ", "), part);
    types.push_back(kComputes[static_cast<size_t>(found - names.begin())]);
  }
  return types;
}

absl::StatusOr<std::vector<Epilogue>> ParseEpilogues(const Flags& flags) {
  std::vector<Epilogue> epilogues;
  if (!flags.ops.empty()) {
    absl::StatusOr<Epilogue> ops = ParseOps(flags.ops);
    if (!ops.ok()) return ops.status();
    epilogues.push_back(*std::move(ops));
    return epilogues;
  }
  for (const std::string& name : Split(flags.epilogue)) {
    absl::StatusOr<Epilogue> epilogue = NamedEpilogue(name);
    if (!epilogue.ok()) return epilogue.status();
    epilogues.push_back(*std::move(epilogue));
  }
  return epilogues;
}

absl::StatusOr<Variants> ParseVariants(const std::string& text) {
  if (text == "chosen") return Variants{};
  if (text == "all") return Variants{.kind = Variants::Kind::kAll, .names = {}};
  Variants variants{.kind = Variants::Kind::kNamed, .names = Split(text)};
  for (const std::string& name : variants.names) {
    if (name.empty()) return Error("--variants", "chosen, all or names of variants", text);
  }
  return variants;
}

absl::StatusOr<std::vector<Problem>> MakeProblems(const Flags& flags) {
  const auto types = ParseTypes(flags.dtype);
  if (!types.ok()) return types.status();
  const auto epilogues = ParseEpilogues(flags);
  if (!epilogues.ok()) return epilogues.status();
  const auto m = ParseNumbers("--m", flags.m, 1, kMostRows);
  if (!m.ok()) return m.status();
  const auto n = ParseNumbers("--n", flags.n, 1, kMaxBlockFeatures);
  if (!n.ok()) return n.status();
  const auto k = ParseNumbers("--k", flags.k, 1, kMaxBlockFeatures);
  if (!k.ok()) return k.status();
  const auto layers = ParseNumber("--layers", flags.layers, 1, kMostLayers);
  if (!layers.ok()) return layers.status();
  std::vector<Problem> problems;
  for (const ComputeType type : *types)
    for (const int64_t outputs : *n)
      for (const int64_t inputs : *k)
        for (const int64_t rows : *m)
          for (const Epilogue& epilogue : *epilogues) {
            problems.push_back({.m = rows,
                                .n = outputs,
                                .k = inputs,
                                .compute = type,
                                .epilogue = epilogue,
                                .layers = *layers});
            absl::Status valid = Validate(problems.back());
            if (!valid.ok()) return valid;
          }
  return problems;
}

absl::Status Read(const Flags& flags, Arguments& arguments) {
  auto problems = MakeProblems(flags);
  if (!problems.ok()) return problems.status();
  arguments.problems = *std::move(problems);
  auto variants = ParseVariants(flags.variants);
  if (!variants.ok()) return variants.status();
  arguments.variants = *std::move(variants);
  double& seconds = arguments.time.seconds;
  if (!absl::SimpleAtod(flags.seconds, &seconds) || !(seconds > 0 && seconds <= 60)) {
    return Error("--seconds", "a number above 0, at most 60", flags.seconds);
  }
  const auto threads = ParseNumber("--cpu-threads", flags.cpu_threads, 0, 1024);
  if (!threads.ok()) return threads.status();
  arguments.cpu_threads = *threads;
  if (flags.backend != "cuda" && flags.backend != "cpu") {
    return Error("--backend", "cuda or cpu", flags.backend);
  }
  arguments.backend = flags.backend == "cpu" ? BenchBackend::kCpu : BenchBackend::kCuda;
  return absl::OkStatus();
}

void AddOptions(CLI::App& app, Flags& flags, Arguments& arguments) {
  const auto add = [&app](const char* name, std::string& value, const char* type,
                          const std::string& help) {
    return app.add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  add("--m", flags.m, "LIST", "Rows of a batch");
  add("--n", flags.n, "LIST", "Outputs");
  add("--k", flags.k, "LIST", "Inputs");
  add("--dtype", flags.dtype, "LIST", "Formats of the product: bf16, fp16, tf32, fp32");
  auto* epilogue = add("--epilogue", flags.epilogue, "LIST",
                       absl::StrCat("Epilogues: ", absl::StrJoin(EpilogueNames(), ", ")));
  add("--ops", flags.ops, "JSON", "One epilogue instead, a list of ops as in model.json")
      ->excludes(epilogue);
  add("--variants", flags.variants, "chosen|all|NAME,...",
      "Kernels: the one that the service would choose, all that it could, or these");
  add("--layers", flags.layers, "N", "Over 1: also a chain of so many layers, in a graph");
  add("--seconds", flags.seconds, "S", "How long each is timed under load, in each of two turns");
  add("--backend", flags.backend, "cuda|cpu", "What computes");
  add("--cpu-threads", flags.cpu_threads, "N", "Of the CPU; 0: one for each core");
  app.add_option("--json", arguments.records_file, "File to write a record of each figure to")
      ->type_name("FILE");
  app.add_option("--kernel-cache", arguments.kernel_cache,
                 "Folder of compiled kernels, created where it is missing; else a temporary one")
      ->type_name("DIR");
}

}  // namespace

std::variant<Arguments, Exit> ParseArguments(int argc, const char* const* argv) {
  Flags flags;
  Arguments arguments;
  CLI::App app("Measures kernels of mlpserve.", "mlpserve-bench");
  CLI::App* kernels = app.add_subcommand(
      "kernels",
      "Layers y = epilogue(x W^T + bias), as the service computes them. Every output is held "
      "against float64 before it is timed.\nExit code 0: measured; 1: an output was wrong, or the "
      "device failed; 2: wrong arguments, or nothing to measure them on");
  AddOptions(*kernels, flags, arguments);
  app.require_subcommand(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit{0, kernels->parsed() ? kernels->help() : app.help("", CLI::AppFormatMode::All)};
  } catch (const CLI::ParseError& error) {
    if (!kernels->parsed()) {
      const std::string found = argc > 1 ? Quoted(argv[1]) : "none";
      return Exit{kWrongUsage, absl::StrCat("mlpserve-bench: expected the command kernels, found ",
                                            found, "\n")};
    }
    return Exit{kWrongUsage, absl::StrCat("mlpserve-bench: ", error.what(), "\n")};
  }
  const absl::Status status = Read(flags, arguments);
  if (status.ok()) return arguments;
  return Exit{kWrongUsage, absl::StrCat("mlpserve-bench: ", std::string(status.message()), "\n")};
}

}  // namespace mlpserve::tools
