// What a device did with batches, for chrome://tracing and Perfetto: a line for each lane, with a
// box for each copy in, computation and copy out.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace mlpserve::tools {

struct TracedBatch {
  int lane = 0;
  int64_t rows = 0;
  // Begun, copied in, computed, copied out; since the trace began.
  std::array<std::chrono::nanoseconds, 4> marks{};
};

// Of all the time in which something was computed, the part in which rows were copied too.
double CopiedWhileComputing(const std::vector<TracedBatch>& batches);

std::string ToChromeTrace(const std::vector<TracedBatch>& batches);

// UNAVAILABLE where the file cannot be written.
absl::Status WriteTrace(const std::vector<TracedBatch>& batches, const std::string& file);

}  // namespace mlpserve::tools
