// What a batcher tells its surroundings, for metrics.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/vocabulary/batch.h"
#include "server/vocabulary/eviction.h"

namespace mlpserve {

// Told what happens, for metrics. Called on any thread, outside of the lock; must be thread-safe.
class BatchObserver {
 public:
  virtual ~BatchObserver() = default;
  // A batch ended. `timing` means nothing if `status` is not OK.
  virtual void OnBatch(int64_t rows, const absl::Status& status, const BatchTiming& timing) = 0;
  // Before the request's OnDone.
  virtual void OnEviction(Eviction reason) = 0;
  // The device is lost; once for each batch that was lost with it, before its requests' OnDone.
  virtual void OnLost(const absl::Status& reason) = 0;
};

}  // namespace mlpserve
