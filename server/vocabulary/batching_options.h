// How a block's requests are batched: `batching` of its model.json, in one struct from the file to
// the batcher and the backend.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "server/vocabulary/request.h"

namespace mlpserve {

struct BatchingOptions {
  // Rows of a batch at most, and so of a slot. A longer request is split over several.
  int64_t max_rows = 4096;
  // Longest time that a lane is left idle while rows wait in a slot that is not full. 0: an idle
  // lane takes what is there at once.
  std::chrono::microseconds max_queue_delay{0};
  // Rows that wait beyond the slots. A request that does not fit is refused with
  // RESOURCE_EXHAUSTED; one with more rows than this can never fit: INVALID_ARGUMENT.
  int64_t max_queued_rows = 65536;
  // The same in bytes of input rows: the smaller of the two limits holds. At least one row's.
  int64_t max_queued_bytes = int64_t{1} << 30;
  // Longest wait, until it begins to run, of a request that brings no timeout of its own; over it,
  // DEADLINE_EXCEEDED. One that is expected to wait longer is refused at once. 0: none.
  std::chrono::microseconds queue_timeout{0};
  // Longest run of a batch, as measured at load: a slot takes no more rows than run within it, and
  // at least those that take hardly longer than one. 0: the longer of 5 ms and the time of the
  // fewest rows that are computed at a tenth less than the best rate. Of no effect on a block whose
  // requests run alone.
  std::chrono::microseconds max_batch_time{0};
  // Longest time that may be expected to be before a request. Over it, RESOURCE_EXHAUSTED. It does
  // not count the request's own rows, and nothing is refused while a device is free.
  std::chrono::microseconds max_queued_time = std::chrono::seconds(10);
  // Levels 1 (highest) .. priority_levels; above it, INVALID_ARGUMENT. 0: all requests alike,
  // whatever priority they name.
  int priority_levels = 0;
  // Level of a request with priority 0. 0: the lowest.
  int default_priority = 0;
  // A row's bits do not depend on the batch that it runs in.
  bool batch_invariant = false;
  // Row counts to prepare kernels for, ascending; the last is max_rows. Empty: the backend chooses.
  std::vector<int64_t> buckets;

  // Not a field of the file. For a block that computes statistics over the rows of a request: each
  // request runs in a batch of its own, is never split, waits for no other rows, and must hold 2 ..
  // max_rows rows.
  bool one_request_per_batch = false;
  // Neither is this: bytes of results that were copied because the output buffers ran low, and are
  // not yet sent. Over it, new requests are refused with RESOURCE_EXHAUSTED until readers catch up.
  int64_t max_copied_bytes = int64_t{256} << 20;
  // Nor this: how long a thread that called Submit is kept to run further batches, of others, on a
  // backend that computes on the calling thread. Over it, a thread of BatchThreads takes over, if
  // one is idle. 0: a thread runs one batch at most.
  Duration help_limit = std::chrono::milliseconds(1);
};

}  // namespace mlpserve
