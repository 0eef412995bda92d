// The SIMD instruction set that the kernels of this folder run with: the best that the processor
// has, found at the first call.
#pragma once

#include <string>
#include <vector>

namespace mlpserve::cpu {

std::string InstructionSet();  // in use: "AVX3_DL", "AVX2", ...

// The same as the makers of processors call it: "AVX-512", "AVX2", ...
std::string CommonInstructionSetName();

// For tests: the sets that this build and processor have, best first, and running with one of them,
// or (empty) the best again. Not while a block runs.
std::vector<std::string> InstructionSets();
void UseInstructionSet(const std::string& name);

}  // namespace mlpserve::cpu
