#include "kernels/cuda/engine/kernel_store.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/jit/sha256.h"

namespace mlpserve::cuda {
namespace {

constexpr unsigned kMostThreads = 16;

}  // namespace

absl::StatusOr<SharedKernel> KernelStore::Gemm(const GemmRequest& request, int shared_bytes) {
  const absl::StatusOr<std::string> source =
      KernelSource(request.epilogue, request.config, request.before);
  if (!source.ok()) return source.status();
  return Get(*source, kKernelName, shared_bytes);
}

absl::StatusOr<CompiledKernel> KernelStore::Compiled(const std::string& source,
                                                     const std::string& kernel_name) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = ahead_.find(source);
    if (found != ahead_.end()) return found->second;
  }
  absl::StatusOr<Compilation> compiled = compiler_.CompileSource(
      source, kernel_name, {.arch = device_.limits.arch, .kernel = kernel_name});
  if (!compiled.ok()) return compiled.status();
  return std::move(compiled->kernel);
}

absl::StatusOr<SharedKernel> KernelStore::Get(const std::string& source,
                                              const std::string& kernel_name, int shared_bytes) {
  const std::string key = Sha256Hex({source, kernel_name, absl::StrCat(shared_bytes)});
  {
    const std::lock_guard lock(mutex_);
    const auto found = loaded_.find(key);
    if (found != loaded_.end()) {
      if (SharedKernel kernel = found->second.lock()) return kernel;
    }
  }
  const absl::StatusOr<CompiledKernel> compiled = Compiled(source, kernel_name);
  if (!compiled.ok()) return compiled.status();
  absl::StatusOr<LoadedKernel> loaded = LoadedKernel::Load(*compiled, kernel_name, shared_bytes);
  if (!loaded.ok()) return loaded.status();
  auto kernel = std::make_shared<const LoadedKernel>(*std::move(loaded));
  const std::lock_guard lock(mutex_);
  std::erase_if(loaded_, [](const auto& entry) { return entry.second.expired(); });
  loaded_[key] = kernel;
  return kernel;
}

void KernelStore::CompileAhead(const std::vector<GemmRequest>& requests) {
  std::set<std::string> sources;
  for (const GemmRequest& request : requests) {
    const absl::StatusOr<std::string> source =
        KernelSource(request.epilogue, request.config, request.before);
    if (source.ok()) sources.insert(*source);
  }
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(ahead_, [&](const auto& entry) { return !sources.contains(entry.first); });
    for (const auto& [source, kernel] : ahead_) sources.erase(source);
  }
  const std::vector<std::string> work(sources.begin(), sources.end());
  std::atomic<size_t> next{0};
  const auto compile = [&] {
    for (size_t i = next++; i < work.size(); i = next++) {
      auto compiled = compiler_.CompileSource(work[i], kKernelName, {.arch = device_.limits.arch});
      if (!compiled.ok()) continue;
      const std::lock_guard lock(mutex_);
      ahead_.insert_or_assign(work[i], std::move(compiled->kernel));
    }
  };
  const size_t threads = std::min<size_t>(
      {work.size(), kMostThreads, std::max(1u, std::thread::hardware_concurrency())});
  std::vector<std::jthread> others;
  for (size_t i = 1; i < threads; ++i) others.emplace_back(compile);
  compile();
}

}  // namespace mlpserve::cuda
