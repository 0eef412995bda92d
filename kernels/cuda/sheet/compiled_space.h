// Every kernel of the tuning space, compiled: what the sheet prints and what a test checks against
// the plan. Needs no GPU.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/tuning_space.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

// Uses everything that takes registers: three column vectors, a nested op, the block's input. A
// served epilogue rarely takes as many.
EpilogueSpec HeavyEpilogue();
inline constexpr int kHeavyColumns = 3;
// For tiles whose ring leaves no room for so many columns; choosing leaves them out where an
// epilogue has more.
EpilogueSpec LightEpilogue();
inline constexpr int kLightColumns = 1;
// For kernels that normalise: what begins with the norm, and what comes before it. With more of
// either the widest of them spills, and is then not used: a pass of its own normalises.
inline constexpr int kHeavyNormColumns = 4;
EpilogueSpec HeavyNorm();
EpilogueSpec BeforeNorm();
inline constexpr int kBeforeNormColumns = 2;

struct SpaceKernel {
  DeviceLimits limits;
  KernelConfig config;
  TileResources planned;  // what choosing reckons with
  bool is_light = false;  // compiled with LightEpilogue
  absl::StatusOr<CompiledKernel> compiled = absl::UnknownError("not compiled");

  // Of an SM, as the compiler's registers leave room for; 0 where it did not compile.
  int ctas_per_sm() const;
};

// With HeavyEpilogue where it fits, for each device and each type, y in the format of the layers
// between. `threads` compile at a time.
std::vector<SpaceKernel> CompileSpace(const Nvrtc& nvrtc, const std::vector<DeviceLimits>& devices,
                                      int threads);

}  // namespace mlpserve::cuda
