// The part of the sheet that predicts: how busy each kernel's loop keeps an SM, and what that makes
// of every layer of the suite.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/sheet/compiled_space.h"
#include "kernels/cuda/sheet/suite_shapes.h"

namespace mlpserve::cuda {

// Markdown. `kernels` have compiled; those of sm_89 that multiply in tensor cores are told of.
// Errors: those of disassembling.
absl::StatusOr<std::string> SuitePage(const std::vector<SpaceKernel>& kernels,
                                      const std::string& disassembler,
                                      const std::vector<SuiteLine>& suite);

}  // namespace mlpserve::cuda
