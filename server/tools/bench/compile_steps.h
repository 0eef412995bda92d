// Compiles the kernels that steps ask for, for a GPU that need not be there.
// Threads: a free function without state.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/tools/bench/run.h"

namespace mlpserve::tools {

struct CompiledSteps {
  int kernels = 0;  // each source once
  std::string compiler;
};

// `arch`: "sm_89" or "sm_90a". Of steps that name no variants, all that the service could choose.
// Errors: INVALID_ARGUMENT, an architecture that no card is known of, a kernel that there is not or
// that does not compile; UNAVAILABLE, there is no NVRTC.
absl::StatusOr<CompiledSteps> CompileSteps(const std::vector<Step>& steps, const std::string& arch);

}  // namespace mlpserve::tools
