// The command line of mlpserve-bench.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "server/tools/bench/engine_bench.h"
#include "server/tools/bench/run.h"

namespace mlpserve::tools {

inline constexpr int kWrongUsage = 2;  // exit code

enum class BenchBackend : uint8_t { kCuda, kCpu };

enum class BenchCommand : uint8_t { kKernels, kEngine };

struct Arguments {
  BenchCommand command = BenchCommand::kKernels;
  std::vector<Step> steps;    // of kKernels
  EngineBenchOptions engine;  // of kEngine
  BenchBackend backend = BenchBackend::kCuda;
  bool list_only = false;    // say what would be measured, and need nothing for it
  std::string compile_arch;  // compile for that, and need no GPU; empty: measure
  int cpu_threads = 0;       // 0: one for each core
  std::string records_file;  // empty: none
  std::string kernel_cache;  // empty: a temporary one
};

// The program ends now: help was asked for (0), or an argument is wrong (kWrongUsage).
struct Exit {
  int code = 0;
  std::string text;
};

std::variant<Arguments, Exit> ParseArguments(int argc, const char* const* argv);

}  // namespace mlpserve::tools
