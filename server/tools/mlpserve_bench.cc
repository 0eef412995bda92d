// mlpserve-bench: measures what the service computes with, on this machine.
#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/tools/bench/arguments.h"
#include "server/tools/bench/cpu_kernel_bench.h"
#include "server/tools/bench/run.h"
#include "server/version.h"
#ifdef MLPSERVE_HAS_CUDA
#include "server/tools/bench/compile_steps.h"
#include "server/tools/bench/cuda_kernel_bench.h"
#include "server/tools/bench/engine_bench.h"
#endif

namespace mlpserve::tools {
namespace {

absl::StatusOr<std::unique_ptr<KernelBench>> MakeBench(const Arguments& arguments) {
  if (arguments.backend == BenchBackend::kCpu) return MakeCpuKernelBench(arguments.cpu_threads);
#ifdef MLPSERVE_HAS_CUDA
  auto bench = MakeCudaKernelBench(arguments.kernel_cache);
  if (bench.ok()) return bench;
  return absl::UnavailableError(absl::StrCat(
      "--backend cuda: ", std::string(bench.status().message()), "; --backend cpu needs no GPU"));
#else
  return absl::UnavailableError(
      "--backend cuda: expected a build with CUDA, found one without; --backend cpu needs no GPU");
#endif
}

absl::Status MeasureEngine([[maybe_unused]] const EngineBenchOptions& options,
                           [[maybe_unused]] std::ostream* records) {
#ifdef MLPSERVE_HAS_CUDA
  return RunEngineBench(options, std::cout, records);
#else
  return absl::UnavailableError("engine: expected a build with CUDA, found one without");
#endif
}

// What the caller got wrong, or has not got; the rest are failures.
bool IsUsage(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInvalidArgument ||
         status.code() == absl::StatusCode::kResourceExhausted;
}

int Fail(const absl::Status& status, int code) {
  std::cerr << "mlpserve-bench: " << status.message() << "\n";
  return code;
}

std::string Today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::string text(10, ' ');
  std::strftime(text.data(), text.size() + 1, "%Y-%m-%d", &utc);
  return text;
}

int List(const std::vector<Step>& steps) {
  size_t count = 0;
  for (const Step& step : steps) {
    for (const Problem& problem : step.problems) std::cout << Describe(problem) << "\n";
    count += step.problems.size();
  }
  std::cout << count << " problems\n";
  return 0;
}

int Compile([[maybe_unused]] const Arguments& arguments) {
#ifdef MLPSERVE_HAS_CUDA
  const auto compiled = CompileSteps(arguments.steps, arguments.compile_arch);
  if (!compiled.ok()) {
    return Fail(compiled.status(), absl::IsUnavailable(compiled.status()) ? kWrongUsage : 1);
  }
  std::cout << compiled->kernels << " kernels compiled for " << arguments.compile_arch
            << " by NVRTC " << compiled->compiler << "\n";
  return 0;
#else
  return Fail(absl::UnavailableError("--compile: expected a build with CUDA, found one without"),
              kWrongUsage);
#endif
}

int RunKernels(const Arguments& arguments, std::ostream* records) {
  const auto bench = MakeBench(arguments);
  if (!bench.ok()) return Fail(bench.status(), kWrongUsage);
  const auto result = RunKernelBench(arguments.steps, {.commit = kCommit, .date = Today()}, **bench,
                                     std::cout, records);
  if (!result.ok()) return Fail(result.status(), IsUsage(result.status()) ? kWrongUsage : 1);
  std::cout << result->records << " figures, " << result->checked << " right outputs, "
            << result->wrong << " wrong outputs\n";
  return result->wrong > 0 ? 1 : 0;
}

int RunEngine(const Arguments& arguments, std::ostream* records) {
  const absl::Status status = MeasureEngine(arguments.engine, records);
  if (status.ok()) return 0;
  return Fail(status, IsUsage(status) || absl::IsUnavailable(status) ? kWrongUsage : 1);
}

int Run(const Arguments& arguments) {
  if (arguments.list_only) return List(arguments.steps);
  if (!arguments.compile_arch.empty()) return Compile(arguments);
  std::ofstream file;
  if (!arguments.records_file.empty()) {
    file.open(arguments.records_file);
    if (!file) {
      return Fail(
          absl::InvalidArgumentError(absl::StrCat(
              "--json: expected a file that can be written, found ", arguments.records_file)),
          kWrongUsage);
    }
  }
  std::ostream* const records = file.is_open() ? &file : nullptr;
  const int code = arguments.command == BenchCommand::kEngine ? RunEngine(arguments, records)
                                                              : RunKernels(arguments, records);
  if (file.is_open() && !file.flush()) {
    return Fail(absl::UnavailableError(absl::StrCat("cannot write ", arguments.records_file)), 1);
  }
  return code;
}

}  // namespace
}  // namespace mlpserve::tools

int main(int argc, char** argv) {
  const auto parsed = mlpserve::tools::ParseArguments(argc, argv);
  if (const auto* exit = std::get_if<mlpserve::tools::Exit>(&parsed)) {
    (exit->code == 0 ? std::cout : std::cerr) << exit->text;
    return exit->code;
  }
  return mlpserve::tools::Run(std::get<mlpserve::tools::Arguments>(parsed));
}
