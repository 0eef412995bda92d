// One batch as batching hands it to an engine. Neither includes the other: this is what they share.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

// The first `rows` rows of an input buffer, to an output buffer, on a lane that is idle.
struct BatchRun {
  int slot = 0;
  int output = 0;
  int lane = 0;
  int64_t rows = 0;  // 1 .. max_rows
};

struct BatchTiming {
  TimePoint started;
  TimePoint infer_started;
  TimePoint infer_ended;
  TimePoint done;
};

// Called exactly once per batch, on any thread. The slot is free again, and, if the status is OK,
// the output complete, when it is called.
using BatchDone = std::function<void(const absl::Status&, const BatchTiming&)>;

}  // namespace mlpserve
