// Whether the server takes requests: not before every block is warm, not after it was told to stop.
#pragma once

#include <atomic>
#include <cstdint>

namespace mlpserve {

enum class Phase : uint8_t {
  kStarting,  // blocks are loading: not ready, requests for blocks that are ready run
  kServing,   // ready
  kDraining,  // health says NOT_SERVING, requests still run
  kClosing,   // new requests are refused with UNAVAILABLE, those in flight finish
};

// Thread-safe. Phases only move forward.
class ServingState {
 public:
  Phase phase() const { return phase_.load(std::memory_order_acquire); }
  bool ready() const { return phase() == Phase::kServing; }
  bool accepts_requests() const { return phase() != Phase::kClosing; }

  void Advance(Phase to) {
    Phase now = phase();
    while (now < to && !phase_.compare_exchange_weak(now, to)) {
    }
  }

 private:
  std::atomic<Phase> phase_{Phase::kStarting};
};

}  // namespace mlpserve
