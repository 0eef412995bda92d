// Notices what becomes of batches that a device runs by itself, and lets them tell of it. A device
// says nothing: somebody has to look. Looking is cheap (an event's word in memory) and blocks
// nothing, where a thread that sleeps in the driver for each batch costs two switches and tens of
// microseconds.
//
// Threads: a few of its own. One of them looks; it hands the looking on before it tells, since what
// it tells may copy many rows, and no other batch should wait for that. Young batches are looked at
// without pause, older ones at intervals of a sixteenth of their age, at most kLongestPause. Where
// nothing runs, the one that looks waits for kLinger on its feet and then sleeps.
//
// The longest delay. A batch that has run for t is told of no later than t / 16 (at most
// kLongestPause, which it may also be where an older one runs beside it) and a thread's waking
// after its end, as long as fewer are being told of than there are threads.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class CompletionWatch {
 public:
  // A batch in flight. Called by one thread at a time.
  class Batch {
   public:
    // Whether there is something to tell. Does not wait.
    virtual bool Look(TimePoint now) = 0;
    // Tells it. False: the batch has ended; it is not touched any more, and may have been added
    // again since.
    virtual bool Tell() = 0;
    virtual TimePoint started() const = 0;

   protected:
    ~Batch() = default;
  };

  static constexpr std::chrono::microseconds kLinger{200};
  static constexpr std::chrono::microseconds kLongestPause{50};

  // At least one thread.
  explicit CompletionWatch(int threads);
  // No batch may be in flight.
  ~CompletionWatch();
  CompletionWatch(const CompletionWatch&) = delete;
  CompletionWatch& operator=(const CompletionWatch&) = delete;

  // From now on it is looked at, until it has ended. Thread-safe, also within Tell.
  void Add(Batch& batch);

 private:
  void Serve();
  Batch* Find(std::vector<Batch*>& batches);

  Mutex mutex_;
  CondVar changed_;
  std::vector<Batch*> batches_ ABSL_GUARDED_BY(mutex_);  // that nobody tells of
  bool is_looked_at_ ABSL_GUARDED_BY(mutex_) = false;    // by a thread that is awake
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<uint64_t> changes_{0};  // of batches_ and stop_
  std::vector<std::thread> threads_;
};

}  // namespace mlpserve
