// Threads that help the calling one with a piece of work that any number of threads can share.
//
// A worker that wakes late joins what is left or comes too late, and nobody waits for it: waking a
// thread takes longer than many a batch. The work must therefore be complete when the callers of
// `work` that did join have returned, however few they are.
//
// Having helped, a worker looks for more work for `spin` before it sleeps, so that batches that
// follow closely on one another find it awake. A core is thus kept busy for `spin` after a call at
// most, and never from a thread that wants it (spin.h).
//
// Threads: Run may be called from several at once; the workers serve one call at a time, the others
// run on their calling thread alone. Bound: the threads given.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace mlpserve::cpu {

class WorkerTeam {
 public:
  // `threads` counts the calling one: 1 starts none. `spin` is also how long a caller waits awake
  // for the last worker to leave. Zero: both sleep at once; and so they do, whatever it is, where
  // the machine has fewer cores than `threads`.
  explicit WorkerTeam(int threads, std::chrono::nanoseconds spin = std::chrono::microseconds(50));
  ~WorkerTeam();
  WorkerTeam(const WorkerTeam&) = delete;
  WorkerTeam& operator=(const WorkerTeam&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(0) here and work(1 .. threads - 1) on the workers that wake in time; returns when
  // all of them have.
  void Run(absl::FunctionRef<void(int thread)> work);

 private:
  // The gate to the work of one Run: its number, whether workers may enter, and how many are
  // inside, in one word, so that none can enter once it has been closed.
  using Gate = uint64_t;
  static constexpr Gate kInside = 0xffff;
  static constexpr Gate kOpen = 0x10000;
  static constexpr Gate kOneRun = 0x20000;

  void Serve(int thread);
  void WaitForWork(Gate served);
  bool HasNews(Gate served) const;
  bool Enter(Gate* served);
  void Leave();
  void WaitUntilEmpty();

  const std::chrono::nanoseconds spin_;
  std::mutex busy_;  // held by the Run that the workers serve

  alignas(64) std::atomic<Gate> gate_ = 0;
  const absl::FunctionRef<void(int)>* work_ = nullptr;  // set before the gate opens
  std::atomic<bool> stopping_ = false;

  // A thread that is about to sleep counts itself in sleepers_ and then looks at the gate once
  // more; a thread that changes the gate then looks at sleepers_. One of the two sees the other's
  // change, because all four accesses are sequentially consistent.
  alignas(64) std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable left_;
  std::atomic<int> sleepers_ = 0;  // workers that wait for wake_
  std::atomic<bool> caller_sleeps_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace mlpserve::cpu
