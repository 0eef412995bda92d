// Measures a list of problems: for each, every output is held against float64 first, what is right
// is timed in turn, and figures are printed and recorded as they come.
#pragma once

#include <ostream>
#include <vector>

#include "absl/status/statusor.h"
#include "server/tools/bench/kernel_bench.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

struct RunOptions {
  Variants variants;
  TimeOptions time;
  std::string commit;  // for the machine's record
  std::string date;    // likewise, "2026-11-21"
};

struct RunResult {
  int records = 0;
  int wrong = 0;  // candidates that are not timed because their output is wrong
};

// `problems` have passed Validate; neighbours of one shape share data and oracle. Everything is
// checked to fit before anything is measured. `records` may be null.
absl::StatusOr<RunResult> RunKernelBench(const std::vector<Problem>& problems,
                                         const RunOptions& options, KernelBench& bench,
                                         std::ostream& table, std::ostream* records);

}  // namespace mlpserve::tools
