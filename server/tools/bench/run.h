// Measures steps, each a list of problems: every output is compared with float64 first, the
// candidates that are right are timed in turn (or only checked, or profiled), and figures are
// printed and recorded one by one.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/tools/bench/kernel_bench.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

enum class Mode : uint8_t {
  kTime,
  kCheck,    // no clock; rows must also have the same bits among fewer rows
  kProfile,  // one launch of each for a profiler that starts when it is told to
};

struct Step {
  Mode mode = Mode::kTime;
  Variants variants;
  TimeOptions time;
  std::vector<Problem> problems;  // each has passed Validate
};

struct RunOptions {
  std::string commit;  // for the machine's record
  std::string date;    // likewise, "2026-11-21"
  int64_t most_held_values = kMostHeldValues;
};

struct RunResult {
  int records = 0;
  int checked = 0;  // outputs that are right
  int wrong = 0;    // and those that are not, and are not timed
};

// Neighbours of one shape share data and oracle. Everything is checked to fit before anything is
// measured. `records` may be null.
absl::StatusOr<RunResult> RunKernelBench(const std::vector<Step>& steps, const RunOptions& options,
                                         KernelBench& bench, std::ostream& table,
                                         std::ostream* records);

}  // namespace mlpserve::tools
