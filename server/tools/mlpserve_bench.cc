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
#include "server/tools/bench/cuda_kernel_bench.h"
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

int Run(const Arguments& arguments) {
  if (arguments.list_only) return List(arguments.steps);
  const auto bench = MakeBench(arguments);
  if (!bench.ok()) return Fail(bench.status(), kWrongUsage);
  std::ofstream records;
  if (!arguments.records_file.empty()) {
    records.open(arguments.records_file);
    if (!records) {
      return Fail(
          absl::InvalidArgumentError(absl::StrCat(
              "--json: expected a file that can be written, found ", arguments.records_file)),
          kWrongUsage);
    }
  }
  const auto result = RunKernelBench(arguments.steps, {.commit = kCommit, .date = Today()}, **bench,
                                     std::cout, records.is_open() ? &records : nullptr);
  if (!result.ok()) return Fail(result.status(), IsUsage(result.status()) ? kWrongUsage : 1);
  if (records.is_open() && !records.flush()) {
    return Fail(absl::UnavailableError(absl::StrCat("cannot write ", arguments.records_file)), 1);
  }
  std::cout << result->records << " figures, " << result->checked << " right outputs, "
            << result->wrong << " wrong outputs\n";
  return result->wrong > 0 ? 1 : 0;
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
