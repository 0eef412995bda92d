// What asks a running server to stop, one request after the other: a second one hurries the first.
#pragma once

#include <deque>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

enum class StopReason : uint8_t {
  kAsked,       // SIGTERM or SIGINT
  kDeviceLost,  // nothing can be computed any more
};

// What the process ends with: for the supervisor to tell apart. 2 is for one that cannot start.
inline constexpr int kBadStartCode = 2;
constexpr int ExitCode(StopReason reason) { return reason == StopReason::kDeviceLost ? 3 : 0; }

// Thread-safe.
class StopRequests {
 public:
  void Ask(StopReason reason) {
    MutexLock lock(mutex_);
    asked_.push_back(reason);
    changed_.NotifyAll();
  }

  // Takes the next request; waits for it until `deadline` at most.
  std::optional<StopReason> WaitUntil(TimePoint deadline) {
    MutexLock lock(mutex_);
    while (asked_.empty()) {
      if (deadline == TimePoint::max()) {
        changed_.Wait(mutex_);
      } else if (!changed_.WaitUntil(mutex_, deadline) && asked_.empty()) {
        return std::nullopt;
      }
    }
    const StopReason reason = asked_.front();
    asked_.pop_front();
    return reason;
  }
  StopReason Wait() { return *WaitUntil(TimePoint::max()); }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<StopReason> asked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mlpserve
