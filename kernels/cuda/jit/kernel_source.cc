#include "kernels/cuda/jit/kernel_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/device_sources.h"
#include "kernels/cuda/jit/emit.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

absl::StatusOr<std::string> KernelSource(const EpilogueSpec& canonical, std::string_view config,
                                         std::string_view file) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::string epilogue, EmitEpilogue(canonical, "Epilogue"));
  SourceJoiner source;
  source.Add("kernels/cuda/device/gemm_args.cuh");
  source.Add("kernels/cuda/device/ptx/primitives.cuh");
  source.Add("kernels/cuda/device/math.cuh");
  source.AddText("\nnamespace mlpserve::cuda {\n\n");
  source.AddText(epilogue);
  source.AddText("\n");
  source.AddText(config);
  source.AddText("\n}  // namespace mlpserve::cuda\n\n");
  source.Add(file);
  return std::move(source).Take();
}

absl::StatusOr<std::string> KernelSource(const EpilogueSpec& canonical, const KernelConfig& config,
                                         const EpilogueSpec& before) {
  std::string numbers = EmitConfig(config);
  if (Normalises(config.tile)) {
    MLPSERVE_ASSIGN_OR_RETURN(const std::string first, EmitEpilogue(before, "Before"));
    absl::StrAppend(&numbers, "\n", first);
  }
  return KernelSource(canonical, numbers, MainLoopPath(config.tile));
}

}  // namespace mlpserve::cuda
