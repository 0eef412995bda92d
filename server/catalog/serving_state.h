// Whether the server takes requests: not before every block is warm, not after it was told to stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "server/sync/mutex.h"

namespace mlpserve {

enum class Phase : uint8_t {
  kStarting,  // blocks are loading: not ready, requests for blocks that are ready run
  kServing,   // ready
  kDraining,  // health says NOT_SERVING, requests still run
  kClosing,   // new requests are refused with UNAVAILABLE, those in flight finish
  kLost,      // a device is lost: the same, and what is in flight fails; the process will end
};

// Thread-safe. Phases only move forward.
class ServingState {
 public:
  Phase phase() const { return phase_.load(std::memory_order_acquire); }
  bool ready() const { return phase() == Phase::kServing; }
  bool accepts_requests() const { return phase() < Phase::kClosing; }

  void Advance(Phase to) {
    MutexLock lock(mutex_);
    if (to <= phase()) return;
    phase_.store(to, std::memory_order_release);
    if (listener_) listener_();
  }

  // `listener` is called after each change, on the thread that made it, and must not call back into
  // this object but to read it. Replaces the last one, which is not running when this returns.
  void SetListener(std::function<void()> listener) {
    MutexLock lock(mutex_);
    listener_ = std::move(listener);
  }

 private:
  std::atomic<Phase> phase_{Phase::kStarting};
  Mutex mutex_;  // held by who changes the phase
  std::function<void()> listener_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mlpserve
