// Measures the engine of a GPU without a server around it: batches that are copied in, computed and
// copied out on one lane and on several, with graphs and without, beside what the block's kernels
// alone take in the same run; and what it costs to notice that a batch is done.
//
// Outputs are not checked here: the conformance suite holds the same lanes against float64.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

struct EngineBenchOptions {
  // Each a block of `layers` layers and a number of rows; n = k. Neighbours of one block share it.
  std::vector<Problem> problems;
  std::vector<int> lanes{1, 2, 3};  // that are measured
  bool is_wire_fp32 = false;        // rows come and leave as FP32, not as they are computed with
  double seconds = 0.5;             // of each figure
  std::string kernel_cache;         // folder; empty: a temporary one
  std::string trace_file;  // of the last problem's batches, for chrome://tracing; empty: none
};

// Prints a table as it goes, and writes a record of each figure; `records` may be null.
// Errors: UNAVAILABLE, no usable GPU or no driver; NOT_FOUND, no NVRTC for it; RESOURCE_EXHAUSTED,
// out of memory; FAILED_PRECONDITION, the cache cannot be used.
absl::Status RunEngineBench(const EngineBenchOptions& options, std::ostream& table,
                            std::ostream* records);

}  // namespace mlpserve::tools
