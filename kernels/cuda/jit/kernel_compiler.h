// From an epilogue and a config to a compiled kernel, through the cache.
//
// Threads: Compile may be called from several threads at once. Two that ask for the same kernel at
// the same time both compile it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

struct Compilation {
  CompiledKernel kernel;
  bool from_cache = false;
  absl::Status stored;  // not OK: the kernel is good, but the cache could not take it
};

class KernelCompiler {
 public:
  // Without a cache everything is compiled anew.
  KernelCompiler(std::shared_ptr<const Nvrtc> nvrtc, std::optional<KernelCache> cache)
      : nvrtc_(std::move(nvrtc)), cache_(std::move(cache)) {}

  // Errors: those of KernelSource and Nvrtc::Compile.
  absl::StatusOr<Compilation> Compile(const EpilogueSpec& canonical, const KernelConfig& config,
                                      const CompileOptions& options) const;
  absl::StatusOr<Compilation> CompileSource(const std::string& source, const std::string& name,
                                            const CompileOptions& options) const;

 private:
  std::shared_ptr<const Nvrtc> nvrtc_;
  std::optional<KernelCache> cache_;
};

}  // namespace mlpserve::cuda
