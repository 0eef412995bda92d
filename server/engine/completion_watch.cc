#include "server/engine/completion_watch.h"

#include <sys/prctl.h>

#include <algorithm>

namespace mlpserve {
namespace {

// Below it a thread yields: to sleep and to wake takes about as long.
constexpr std::chrono::microseconds kLeastPause{20};

void PauseAt(Duration age) {
  const Duration pause = std::min<Duration>(age / 16, CompletionWatch::kLongestPause);
  if (pause < kLeastPause) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

CompletionWatch::CompletionWatch(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back(&CompletionWatch::Serve, this);
}

CompletionWatch::~CompletionWatch() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changes_.fetch_add(1, std::memory_order_release);
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void CompletionWatch::Add(Batch& batch) {
  MutexLock lock(mutex_);
  batches_.push_back(&batch);
  changes_.fetch_add(1, std::memory_order_release);
  if (!is_looked_at_) changed_.NotifyOne();
}

void CompletionWatch::Serve() {
  prctl(PR_SET_NAME, "batch-watch");
  prctl(PR_SET_TIMERSLACK, 1000);  // of 1 µs: short pauses stay short
  std::vector<Batch*> batches;
  for (bool sleeps = false;;) {
    {
      MutexLock lock(mutex_);
      while (!stop_ && (is_looked_at_ || (sleeps && batches_.empty()))) changed_.Wait(mutex_);
      if (stop_) return;
      is_looked_at_ = true;
    }
    Batch* const found = Find(batches);
    sleeps = found == nullptr;
    {
      MutexLock lock(mutex_);
      if (found != nullptr) std::erase(batches_, found);
      is_looked_at_ = false;
      if (!batches_.empty()) changed_.NotifyOne();
    }
    if (found != nullptr && found->Tell()) Add(*found);
  }
}

// One that has something to tell; null: nothing has run for kLinger, or the watch ends. `batches`
// is memory to use.
CompletionWatch::Batch* CompletionWatch::Find(std::vector<Batch*>& batches) {
  uint64_t known = changes_.load(std::memory_order_acquire) - 1;
  TimePoint busy = Clock::now();
  for (;;) {
    if (changes_.load(std::memory_order_acquire) != known) {
      MutexLock lock(mutex_);
      if (stop_) return nullptr;
      known = changes_.load(std::memory_order_relaxed);
      batches = batches_;
    }
    const TimePoint now = Clock::now();
    TimePoint youngest = TimePoint::min();
    for (Batch* batch : batches) {
      if (batch->Look(now)) return batch;
      youngest = std::max(youngest, batch->started());
    }
    if (!batches.empty()) {
      busy = now;
    } else if (now - busy > kLinger) {
      return nullptr;
    }
    PauseAt(batches.empty() ? Duration::zero() : now - youngest);
  }
}

}  // namespace mlpserve
