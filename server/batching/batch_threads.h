// The threads that the batchers of a process share: one that wakes them at the times that they ask
// for, and a few that run batches for them ("runners"). So a block costs no thread.
//
// Threads: every function may be called from any thread, also under the client's own lock: none of
// this object's is held while a client is called. Must outlive its clients.
// Bounds: the runners given, and one; one entry for each client that asked.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "server/sync/mutex.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class BatchThreads {
 public:
  struct Options {
    // Threads that run batches for backends that compute on the calling thread; for others they
    // sleep. 0: half as many as there are cores, 2 to 8.
    int runners = 0;
  };

  // A batcher, as these threads see it.
  class Client {
   public:
    virtual ~Client() = default;

    // The time has come that WakeAt named. Every client waits for the thread that is in here: it
    // must not run a batch that computes.
    virtual void OnWake() = 0;
    // A runner has come. It may stay as long as no other client waits.
    virtual void OnRunner() = 0;

   private:
    friend class BatchThreads;
    // Guarded by BatchThreads::mutex_.
    TimePoint wake_at_ = TimePoint::max();  // max: not in wakes_
    int inside_ = 0;                        // threads that are in one of the two
  };

  explicit BatchThreads(const Options& options);
  ~BatchThreads();
  BatchThreads(const BatchThreads&) = delete;
  BatchThreads& operator=(const BatchThreads&) = delete;

  // Once, at that time or soon after. Replaces what the client asked for before.
  void WakeAt(Client& client, TimePoint at);
  // A runner comes as soon as one is free, first come, first served.
  void HandOver(Client& client);
  // The same if a runner is idle; else nothing happens, and false.
  bool TryHandOver(Client& client);
  // Whether a client waits for a runner.
  bool clients_wait() const { return waiting_.load(std::memory_order_relaxed) > 0; }

  // Waits until no thread is inside the client; none will come. The client must not ask any more.
  void Leave(Client& client);

  int runners() const { return static_cast<int>(runners_.size()); }

 private:
  void Wake();
  void Serve();
  void Forget(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Queue(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LeaveClient(Client& client);

  Mutex mutex_;
  CondVar wake_;      // an earlier wake, or the end
  CondVar runnable_;  // a client waits, or the end
  CondVar left_;      // a thread has left a client
  std::set<std::pair<TimePoint, Client*>> wakes_ ABSL_GUARDED_BY(mutex_);
  std::deque<Client*> queue_ ABSL_GUARDED_BY(mutex_);  // that wait for a runner
  size_t idle_runners_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<size_t> waiting_{0};  // queue_'s size, to be read without the lock

  std::thread waker_;
  std::vector<std::thread> runners_;
};

}  // namespace mlpserve
