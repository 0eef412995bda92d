#include "kernels/cuda/jit/kernel_compiler.h"

#include <utility>

#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

absl::StatusOr<Compilation> KernelCompiler::Compile(const EpilogueSpec& canonical,
                                                    const KernelConfig& config,
                                                    const CompileOptions& options) const {
  MLPSERVE_ASSIGN_OR_RETURN(const std::string source, KernelSource(canonical, config));
  return CompileSource(source, CodeName(config), options);
}

absl::StatusOr<Compilation> KernelCompiler::CompileSource(const std::string& source,
                                                          const std::string& name,
                                                          const CompileOptions& options) const {
  const std::string key = KernelCache::Key(source, options, nvrtc_->version());
  if (cache_) {
    if (std::optional<CompiledKernel> kernel = cache_->Read(key)) {
      return Compilation{.kernel = *std::move(kernel), .from_cache = true};
    }
  }
  MLPSERVE_ASSIGN_OR_RETURN(CompiledKernel kernel, nvrtc_->Compile(source, name, options));
  Compilation result{.kernel = std::move(kernel)};
  if (cache_) result.stored = cache_->Write(key, result.kernel);
  return result;
}

}  // namespace mlpserve::cuda
