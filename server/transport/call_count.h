// How many calls there are, and a way to wait until there are none.
#pragma once

#include <atomic>
#include <cstdint>

#include "server/sync/mutex.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

// Thread-safe.
class CallCount {
 public:
  void Enter() { calls_.fetch_add(1, std::memory_order_relaxed); }

  void Leave() {
    if (calls_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    MutexLock lock(mutex_);
    none_.NotifyAll();
  }

  // Returns when there are no calls, or at the deadline.
  void WaitUntilNone(TimePoint deadline) {
    MutexLock lock(mutex_);
    while (calls_.load(std::memory_order_acquire) > 0) {
      if (!none_.WaitUntil(mutex_, deadline)) return;
    }
  }

  void WaitUntilNone() {
    MutexLock lock(mutex_);
    while (calls_.load(std::memory_order_acquire) > 0) none_.Wait(mutex_);
  }

 private:
  std::atomic<int64_t> calls_{0};
  Mutex mutex_;  // only to wait for the last call
  CondVar none_;
};

}  // namespace mlpserve
