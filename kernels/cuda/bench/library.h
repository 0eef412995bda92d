// The vendor library's best: cuBLASLt's plain product, no epilogue, as one more variant to time.
#pragma once

#include <cublasLt.h>

#include <vector>

#include "kernels/cuda/bench/kernel.h"
#include "kernels/cuda/bench/timing.h"

namespace mlpserve::bench {

// The fastest of up to 32 heuristic algorithms, timed in turn, for y = x·wᵀ. weights[i] is read at
// turn i modulo their number.
Launch BestOfLibrary(cublasLtHandle_t lt, const Problem& problem, const void* x, void* y,
                     const std::vector<void*>& weights);

}  // namespace mlpserve::bench
