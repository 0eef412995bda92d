// Random epilogues in canonical form, the same for the same seed on every machine: a generator
// program writes their code at build time, the test recomputes them.
#pragma once

#include <cstdint>

#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

inline constexpr int kChains = 256;
inline constexpr int kChainColumns = 8;  // outputs of a chain's layer

EpilogueSpec RandomChain(uint32_t seed);

}  // namespace mlpserve::cuda
