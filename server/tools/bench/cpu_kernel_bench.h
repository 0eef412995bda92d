// The kernels of a processor (kernels/cpu), as the CPU backend runs them.
#pragma once

#include <memory>

#include "server/tools/bench/kernel_bench.h"

namespace mlpserve::tools {

// `threads`: that compute, the calling one included; 0: one for each core.
std::unique_ptr<KernelBench> MakeCpuKernelBench(int threads);

}  // namespace mlpserve::tools
