// The kernels of an NVIDIA GPU (kernels/cuda/engine), as the CUDA backend launches them: products
// in every config that the service may choose, cuBLASLt with a kernel of ours behind it, cuBLASLt's
// bare product, and the passes of batch statistics.
//
// Weights lie in several copies that are taken in turn, so that each launch reads them from memory.
// Calls of the runtime that fail while it times end the program (server/tools/bench/cuda_check.h).
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/tools/bench/kernel_bench.h"

namespace mlpserve::tools {

// Of the first usable GPU. `kernel_cache`: folder of compiled kernels; empty: a temporary one.
// Errors: UNAVAILABLE, no usable GPU or no driver; NOT_FOUND, no NVRTC for it; FAILED_PRECONDITION,
// the cache cannot be used.
absl::StatusOr<std::unique_ptr<KernelBench>> MakeCudaKernelBench(const std::string& kernel_cache);

}  // namespace mlpserve::tools
