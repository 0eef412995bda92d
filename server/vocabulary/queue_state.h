// A block's queue and buffers at one moment.
#pragma once

#include <cstdint>

namespace mlpserve {

struct QueueState {
  int64_t queued_requests = 0;   // with rows beyond the slots
  int64_t pending_requests = 0;  // none of whose rows has begun to run
  int64_t queued_rows = 0;       // beyond the slots: what the limit holds for
  int64_t queued_rows_limit = 0;
  int64_t slots_in_use = 0;
  int64_t slots = 0;
  int64_t copied_bytes = 0;  // results that were copied because the outputs ran low
};

}  // namespace mlpserve
