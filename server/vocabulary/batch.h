// One batch as batching hands it to an engine. Neither includes the other: this is what they share.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

// The first `rows` rows of an input buffer, to an output buffer, on a lane that is idle.
struct BatchRun {
  int slot = 0;
  int output = 0;
  int lane = 0;
  int64_t rows = 0;  // 1 .. BatchRunner::ready_rows()
};

struct BatchTiming {
  TimePoint started;
  TimePoint infer_started;
  TimePoint infer_ended;
  TimePoint done;
};

// What becomes of a batch. Called one after the other, on any thread, also within BatchRunner::Run.
class BatchEvents {
 public:
  // At most once, and before the batch ends: its rows have been read, and its slot may be filled
  // again. Without it the slot is free when the batch ends.
  virtual void OnInputRead(const BatchRun& run) = 0;
  // At most once, and before the batch ends: its device will soon have nothing to do, so that rows
  // which wait for it should come. Without it they come when the batch ends.
  virtual void OnNearlyDone(const BatchRun& run) = 0;
  // One of the next two ends the batch, exactly once: its lane is idle again. Here, if `status` is
  // OK, its output is complete.
  virtual void OnDone(const BatchRun& run, const absl::Status& status,
                      const BatchTiming& timing) = 0;
  // The device is gone, and the batch with it. So will be every other that is given to it, until
  // the process ends. `reason` says what the device's driver said.
  virtual void OnLost(const BatchRun& run, const absl::Status& reason) = 0;

 protected:
  ~BatchEvents() = default;
};

// A loaded block as batching sees it. Thread-safe.
class BatchRunner {
 public:
  virtual ~BatchRunner() = default;

  // Runs one batch. `events` must live until the batch has ended, and must not be waited for here:
  // it may wait for Run to return.
  virtual void Run(const BatchRun& run, BatchEvents& events) = 0;

  // Rows that every slot and every output holds at this moment, 1 .. max_rows. Never falls. Batches
  // are no larger.
  virtual int64_t ready_rows() const = 0;
  // Batches are as large as ready_rows allows, and larger ones would do. Returns at once: memory is
  // made ready on a thread of the backend's, where nobody waits for it. Does nothing at max_rows.
  virtual void Grow() = 0;
};

}  // namespace mlpserve
