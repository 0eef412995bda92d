// Waiting for what another thread does within microseconds. Sleeping and being woken takes longer
// than that; spinning alone would keep the core from a thread that has work.
#pragma once

#include <chrono>
#include <thread>

#include "hwy/cache_control.h"

namespace mlpserve::cpu {

// Evaluates `condition` again and again until it is true or `limit` has passed, and returns its
// last value. About once in a microsecond it yields the core, for other threads that are ready to
// run.
template <typename Condition>
bool SpinUntil(std::chrono::nanoseconds limit, Condition condition) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLooks = 32;
  if (limit <= limit.zero()) return condition();
  const Clock::time_point end = Clock::now() + limit;
  do {
    for (int i = 0; i < kLooks; ++i) {
      if (condition()) return true;
      hwy::Pause();
    }
    std::this_thread::yield();
  } while (Clock::now() < end);
  return condition();
}

}  // namespace mlpserve::cpu
