#include "kernels/cuda/engine/kernel_store.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/sha256.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr unsigned kMostThreads = 16;

}  // namespace

absl::StatusOr<CompiledKernel> KernelStore::Compiled(const KernelText& text) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = ahead_.find(text.source);
    if (found != ahead_.end()) return found->second;
  }
  MLPSERVE_ASSIGN_OR_RETURN(
      Compilation compiled,
      compiler_.CompileSource(text.source, text.label,
                              {.arch = device_.limits.arch, .kernel = text.kernel}));
  return std::move(compiled.kernel);
}

absl::StatusOr<SharedKernel> KernelStore::Get(const KernelText& text, int shared_bytes) {
  const std::string key = Sha256Hex({text.source, text.kernel, absl::StrCat(shared_bytes)});
  {
    const std::lock_guard lock(mutex_);
    const auto found = loaded_.find(key);
    if (found != loaded_.end()) {
      if (SharedKernel kernel = found->second.lock()) return kernel;
    }
  }
  MLPSERVE_ASSIGN_OR_RETURN(const CompiledKernel compiled, Compiled(text));
  MLPSERVE_ASSIGN_OR_RETURN(LoadedKernel loaded,
                            LoadedKernel::Load(compiled, text.kernel, shared_bytes));
  auto kernel = std::make_shared<const LoadedKernel>(std::move(loaded));
  const std::lock_guard lock(mutex_);
  std::erase_if(loaded_, [](const auto& entry) { return entry.second.expired(); });
  loaded_[key] = kernel;
  return kernel;
}

void KernelStore::CompileAhead(const std::vector<KernelText>& texts, const std::stop_token& stop) {
  std::map<std::string, const KernelText*> wanted;  // by source
  for (const KernelText& text : texts) wanted.emplace(text.source, &text);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(ahead_, [&](const auto& entry) { return !wanted.contains(entry.first); });
    for (const auto& [source, kernel] : ahead_) wanted.erase(source);
  }
  std::vector<const KernelText*> work;
  for (const auto& [source, text] : wanted) work.push_back(text);
  std::atomic<size_t> next{0};
  const auto compile = [&] {
    for (size_t i = next++; i < work.size() && !stop.stop_requested(); i = next++) {
      const KernelText& text = *work[i];
      auto compiled = compiler_.CompileSource(text.source, text.label,
                                              {.arch = device_.limits.arch, .kernel = text.kernel});
      if (!compiled.ok()) continue;
      const std::lock_guard lock(mutex_);
      ahead_.insert_or_assign(text.source, std::move(compiled->kernel));
    }
  };
  const size_t threads = std::min<size_t>(
      {work.size(), kMostThreads, std::max(1u, std::thread::hardware_concurrency())});
  std::vector<std::jthread> others;
  for (size_t i = 1; i < threads; ++i) others.emplace_back(compile);
  compile();
}

}  // namespace mlpserve::cuda
