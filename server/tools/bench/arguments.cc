#include "server/tools/bench/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/status/status_macros.h"
#include "server/text/strict_json.h"
#include "server/tools/bench/flags.h"
#include "server/version.h"

namespace mlpserve::tools {
namespace {

// The flags as text, before they are checked.
struct CommandLine {
  Flags step;
  std::string plan, backend = "cuda", cpu_threads = "0";
  Flags engine{.m = "1,16,256,4096", .epilogue = "gelu", .layers = "8", .seconds = "0.5"};
  std::string lanes = "1,2,3", wire = "same";
};

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (file && !text.str().empty()) return text.str();
  return FlagError("--plan", "a file with steps", path);
}

absl::Status Read(const CommandLine& line, Arguments& arguments) {
  MLPSERVE_ASSIGN_OR_RETURN(Step step, MakeStep(line.step));
  if (line.plan.empty()) {
    arguments.steps.push_back(std::move(step));
  } else {
    MLPSERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(line.plan));
    MLPSERVE_ASSIGN_OR_RETURN(arguments.steps, ParsePlan(text, line.plan, line.step));
  }
  MLPSERVE_ASSIGN_OR_RETURN(arguments.cpu_threads,
                            ParseNumber("--cpu-threads", line.cpu_threads, 0, 1024));
  if (line.backend != "cuda" && line.backend != "cpu") {
    return FlagError("--backend", "cuda or cpu", line.backend);
  }
  arguments.backend = line.backend == "cpu" ? BenchBackend::kCpu : BenchBackend::kCuda;
  return absl::OkStatus();
}

void AddFiles(CLI::App& app, Arguments& arguments) {
  app.add_option("--json", arguments.records_file, "File to write a record of each figure to")
      ->type_name("FILE");
  app.add_option("--kernel-cache", arguments.kernel_cache,
                 "Folder of compiled kernels, created where it is missing; else a temporary one")
      ->type_name("DIR");
}

absl::Status ReadEngine(CommandLine& line, Arguments& arguments) {
  arguments.command = BenchCommand::kEngine;
  EngineBenchOptions& engine = arguments.engine;
  line.engine.k = line.engine.n;
  if (line.engine.n.find(',') != std::string::npos) {
    return FlagError("--n", "one number of features", line.engine.n);
  }
  MLPSERVE_ASSIGN_OR_RETURN(Step step, MakeStep(line.engine));
  engine.problems = std::move(step.problems);
  // What one block can do comes together.
  std::ranges::stable_sort(engine.problems, {}, [](const Problem& problem) {
    return std::pair(problem.compute, problem.epilogue.op);
  });
  engine.seconds = step.time.seconds;
  if (line.wire != "same" && line.wire != "fp32") {
    return FlagError("--wire", "same or fp32", line.wire);
  }
  engine.is_wire_fp32 = line.wire == "fp32";
  engine.lanes.clear();
  for (const std::string& lanes : std::vector<std::string>(absl::StrSplit(line.lanes, ','))) {
    MLPSERVE_ASSIGN_OR_RETURN(const int number, ParseNumber("--lanes", lanes, 1, 16));
    engine.lanes.push_back(number);
  }
  engine.kernel_cache = arguments.kernel_cache;
  return absl::OkStatus();
}

void AddEngineOptions(CLI::App& app, CommandLine& line, Arguments& arguments) {
  Flags& flags = line.engine;
  const auto add = [&app](const char* name, std::string& value, const char* type,
                          const std::string& help) {
    return app.add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  add("--m", flags.m, "LIST", "Rows of a batch");
  add("--n", flags.n, "N", "Features of the block and of each of its layers");
  add("--layers", flags.layers, "N", "Layers of the block");
  add("--dtype", flags.dtype, "LIST", "Formats of the products: bf16, fp16, tf32, fp32");
  add("--epilogue", flags.epilogue, "LIST",
      absl::StrCat("Epilogues: ", absl::StrJoin(EpilogueNames(), ", ")));
  add("--wire", line.wire, "same|fp32", "Format of rows as they come and leave");
  add("--lanes", line.lanes, "LIST", "Batches that are in flight at a time");
  add("--seconds", flags.seconds, "S", "How long each figure is measured");
  app.add_option("--trace", arguments.engine.trace_file,
                 "File to write what two lanes do with the last rows to, for chrome://tracing")
      ->type_name("FILE");
  AddFiles(app, arguments);
}

void AddOptions(CLI::App& app, CommandLine& line, Arguments& arguments) {
  Flags& flags = line.step;
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
      "Kernels: the one that the service would choose, all that it could, or these, as records "
      "name them; those that it would never choose, too");
  add("--layers", flags.layers, "N", "Over 1: also a chain of so many layers, in a graph");
  add("--padding", flags.padding, "N", "Elements between rows; -1: as few as the service leaves");
  add("--mode", flags.mode, "time|check|profile",
      "Check times nothing, and also that rows have the same bits among fewer rows; profile "
      "launches each kernel once, for a profiler that waits for cudaProfilerStart");
  app.add_option("--plan", line.plan,
                 "File of steps to run instead, one a line: a mode, then flags as in m=16 "
                 "(kernels/plans); flags given here are what its lines leave out")
      ->type_name("FILE");
  add("--seconds", flags.seconds, "S", "How long each is timed under load, in each of two turns");
  add("--backend", line.backend, "cuda|cpu", "What computes");
  add("--cpu-threads", line.cpu_threads, "N", "Of the CPU; 0: one for each core");
  app.add_flag("--list", arguments.list_only, "Prints the problems, and measures nothing");
  app.add_option("--compile", arguments.compile_arch,
                 "Compiles the kernels for sm_89 or sm_90a, and measures nothing; needs no GPU")
      ->type_name("ARCH");
  AddFiles(app, arguments);
}

Exit WrongCommand(int argc, const char* const* argv) {
  return {kWrongUsage,
          absl::StrCat("mlpserve-bench: expected the command kernels or engine, found ",
                       argc > 1 ? Quoted(argv[1]) : "none", "\n")};
}

}  // namespace

std::variant<Arguments, Exit> ParseArguments(int argc, const char* const* argv) {
  CommandLine line;
  Arguments arguments;
  CLI::App app("Measures kernels of mlpserve.", "mlpserve-bench");
  CLI::App* kernels = app.add_subcommand(
      "kernels",
      "Layers y = epilogue(x W^T + bias), as the service computes them. Every output is held "
      "against float64 before it is timed.\nExit code 0: measured; 1: an output was wrong, or the "
      "device failed; 2: wrong arguments, or nothing to measure them on");
  AddOptions(*kernels, line, arguments);
  CLI::App* engine = app.add_subcommand(
      "engine",
      "A block on a GPU without a server: batches that are copied in, computed and copied out on "
      "one lane and on several, step by step and in graphs, beside its kernels alone; and how it "
      "is noticed that a batch is done.\nExit code 0: measured; 1: the device failed; 2: wrong "
      "arguments, or nothing to measure them on");
  AddEngineOptions(*engine, line, arguments);
  app.set_version_flag("--version", std::string("mlpserve-bench ") + kVersion);
  app.require_subcommand(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit{0, kernels->parsed()  ? kernels->help()
                   : engine->parsed() ? engine->help()
                                      : app.help("", CLI::AppFormatMode::All)};
  } catch (const CLI::CallForVersion& version) {
    return Exit{0, std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    if (!kernels->parsed() && !engine->parsed()) return WrongCommand(argc, argv);
    return Exit{kWrongUsage, absl::StrCat("mlpserve-bench: ", error.what(), "\n")};
  }
  const absl::Status status =
      engine->parsed() ? ReadEngine(line, arguments) : Read(line, arguments);
  if (status.ok()) return arguments;
  return Exit{kWrongUsage, absl::StrCat("mlpserve-bench: ", std::string(status.message()), "\n")};
}

}  // namespace mlpserve::tools
