// The whole source of one kernel, as NVRTC receives it.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

// The name of the kernel in every source: extern "C" __global__, its first parameter a GemmArgs.
inline constexpr char kKernelName[] = "mlpserve_gemm";

// One text without includes. `before` is what a kernel that normalises does first: then `canonical`
// begins with the norm. Errors are EmitEpilogue's.
absl::StatusOr<std::string> KernelSource(const EpilogueSpec& canonical, const KernelConfig& config,
                                         const EpilogueSpec& before = {});
// The same for any kernel with an epilogue: `config` is the text of struct Config, `file` the
// kernel's ("kernels/cuda/device/mma/elementwise.cuh").
absl::StatusOr<std::string> KernelSource(const EpilogueSpec& canonical, std::string_view config,
                                         std::string_view file);

}  // namespace mlpserve::cuda
