// The random chains' emitted code, compiled for the host (write_chains.cc writes the other half).
#pragma once

#include <cstdint>
#include <span>

namespace mlpserve::cuda {

// One value through the epilogue of RandomChain(index).
using EmittedChain = float (*)(float z, const float* columns, int64_t stride, int column, float x);

std::span<const EmittedChain> EmittedChains();

}  // namespace mlpserve::cuda
