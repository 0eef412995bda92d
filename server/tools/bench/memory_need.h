// How much of the host's memory a problem takes while it is measured.
#pragma once

#include "absl/status/status.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

// Checks that there is room for the rows, the weights and their copies, the columns that are judged
// at a time (expected.h) and `more` bytes. RESOURCE_EXHAUSTED, with both sizes, where the machine
// has less.
absl::Status CheckHostFits(const Problem& problem, double more);

}  // namespace mlpserve::tools
