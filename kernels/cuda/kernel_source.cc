#include "kernels/cuda/kernel_source.h"

#include <utility>

#include "kernels/cuda/device_sources.h"
#include "kernels/cuda/emit.h"

namespace mlpserve::cuda {
namespace {

std::string_view MainLoopPath(MainLoop main_loop) {
  switch (main_loop) {
    case MainLoop::kFfma:
      return "kernels/cuda/ffma.cuh";
    case MainLoop::kMma:
      return "kernels/cuda/mma.cuh";
    case MainLoop::kMmaRows:
      return "kernels/cuda/mma_rows.cuh";
    case MainLoop::kWgmma:
      return "kernels/cuda/wgmma.cuh";
    case MainLoop::kWgmmaRows:
      return "kernels/cuda/wgmma_rows.cuh";
  }
  return "";
}

}  // namespace

absl::StatusOr<std::string> KernelSource(const EpilogueSpec& canonical,
                                         const KernelConfig& config) {
  absl::StatusOr<std::string> epilogue = EmitEpilogue(canonical, "Epilogue");
  if (!epilogue.ok()) return epilogue.status();
  SourceJoiner source;
  source.Add("kernels/cuda/gemm_args.cuh");
  source.Add("kernels/cuda/device_primitives.cuh");
  source.Add("kernels/cuda/device_math.cuh");
  source.AddText("\nnamespace mlpserve::cuda {\n\n");
  source.AddText(*epilogue);
  source.AddText("\n");
  source.AddText(EmitConfig(config));
  source.AddText("\n}  // namespace mlpserve::cuda\n\n");
  source.Add(MainLoopPath(config.main_loop));
  return std::move(source).Take();
}

}  // namespace mlpserve::cuda
