// mlpserve-compile: fills a kernel cache for the blocks of a model repository, on a machine that
// needs no GPU, so that a server finds everything compiled and only measures.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/kernel_compiler.h"
#include "kernels/cuda/jit/kernel_text.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/plan/block_plan.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/status/status_macros.h"
#include "server/model/model_reader.h"
#include "server/model/repository.h"
#include "server/version.h"

namespace mlpserve {
namespace {

struct Flags {
  std::string model_repository;
  std::string kernel_cache;
  std::vector<std::string> archs{"89", "90a"};
};

struct Work {
  std::string arch;
  cuda::KernelText text;
};

// The card that stands for an architecture: what is worth compiling depends on its size.
cuda::DeviceLimits LimitsOf(const std::string& arch) {
  if (arch == "90a") return cuda::H200();
  cuda::DeviceLimits limits = cuda::Rtx4090();
  limits.arch = absl::StrCat("sm_", arch);
  (void)absl::SimpleAtoi(arch, &limits.capability);
  limits.sm = cuda::SmLimitsOf(limits.capability).value_or(limits.sm);
  return limits;
}

// Adds the kernels of one version of a block.
absl::Status AddVersion(const BlockConfig& config, int64_t version, const Flags& flags,
                        std::vector<Work>& work) {
  MLPSERVE_ASSIGN_OR_RETURN(const BlockSpec block, ReadBlock(config, version));
  for (const std::string& arch : flags.archs) {
    const cuda::BlockPlan plan =
        cuda::PlanBlock(block, LimitsOf(arch),
                        {.max_rows = config.batching.max_rows, .buckets = config.batching.buckets});
    MLPSERVE_ASSIGN_OR_RETURN(std::vector<cuda::KernelText> texts, cuda::KernelTexts(plan));
    for (cuda::KernelText& text : texts) {
      work.push_back({absl::StrCat("sm_", arch), std::move(text)});
    }
  }
  return absl::OkStatus();
}

struct Counts {
  std::atomic<int> compiled{0}, known{0}, failed{0};
};

void CompileAll(const std::vector<Work>& work, const cuda::KernelCompiler& compiler,
                Counts& counts) {
  std::atomic<size_t> next{0};
  std::mutex output;
  const auto compile = [&] {
    for (size_t i = next++; i < work.size(); i = next++) {
      const auto result =
          compiler.CompileSource(work[i].text.source, work[i].text.label,
                                 {.arch = work[i].arch, .kernel = work[i].text.kernel});
      absl::Status status = result.status();
      if (result.ok()) status = result->stored;
      if (status.ok()) {
        (result->from_cache ? counts.known : counts.compiled)++;
        continue;
      }
      counts.failed++;
      const std::lock_guard lock(output);
      std::fprintf(stderr, "%s for %s: %s\n", work[i].text.label.c_str(), work[i].arch.c_str(),
                   std::string(status.message()).c_str());
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back(compile);
  }
  compile();
}

absl::Status Run(const Flags& flags) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto nvrtc, cuda::Nvrtc::Open());
  for (const std::string& arch : flags.archs) {
    if (!nvrtc->Supports(absl::StrCat("sm_", arch))) {
      return absl::InvalidArgumentError(
          absl::StrCat("--arch: expected what NVRTC ", nvrtc->version(),
                       " compiles for, such as 89 or 90a, found \"", arch, "\""));
    }
  }
  MLPSERVE_ASSIGN_OR_RETURN(auto cache, cuda::KernelCache::Open(flags.kernel_cache));
  MLPSERVE_ASSIGN_OR_RETURN(const RepositoryScan scan, ScanRepository(flags.model_repository));
  std::vector<Work> work;
  for (const RepositoryBlock& block : scan.blocks) {
    MLPSERVE_RETURN_IF_ERROR(block.config.status());
    for (const int64_t version : block.versions) {
      MLPSERVE_RETURN_IF_ERROR(AddVersion(*block.config, version, flags, work));
    }
  }
  Counts counts;
  CompileAll(work, cuda::KernelCompiler(nvrtc, std::move(cache)), counts);
  std::printf("%d kernels compiled, %d known already, %d failed\n", counts.compiled.load(),
              counts.known.load(), counts.failed.load());
  if (counts.failed > 0) return absl::InternalError("some kernels are not in the cache");
  return absl::OkStatus();
}

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) {
  mlpserve::Flags flags;
  CLI::App app("Fills a kernel cache of mlpserve ahead of time; needs NVRTC, but no GPU.",
               "mlpserve-compile");
  app.add_option("--model-repository", flags.model_repository, "Folder of blocks")
      ->type_name("DIR")
      ->required();
  app.add_option("--kernel-cache", flags.kernel_cache,
                 "Folder to fill, created where it is missing: mlpserve's --kernel-cache")
      ->type_name("DIR")
      ->required();
  app.add_option("--arch", flags.archs, "Architectures to compile for")
      ->type_name("ARCH,...")
      ->delimiter(',')
      ->capture_default_str();
  app.set_version_flag("--version", std::string("mlpserve-compile ") + mlpserve::kVersion);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = mlpserve::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "mlpserve-compile: %s\n", std::string(status.message()).c_str());
  return 1;
}
