// Threads that help the calling one with a piece of work that any number of threads can share.
//
// A worker that wakes late joins what is left or comes too late, and nobody waits for it: waking a
// thread takes longer than many a batch. The work must therefore be complete when the callers of
// `work` that did join have returned, however few they are.
//
// Threads: Run may be called from several at once; the workers serve one call at a time, the others
// run on their calling thread alone. Bound: the threads given.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace mlpserve::cpu {

class WorkerTeam {
 public:
  // `threads` counts the calling one: 1 starts none.
  explicit WorkerTeam(int threads);
  ~WorkerTeam();
  WorkerTeam(const WorkerTeam&) = delete;
  WorkerTeam& operator=(const WorkerTeam&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(0) here and work(1 .. threads - 1) on the workers that wake in time; returns when
  // all of them have.
  void Run(absl::FunctionRef<void(int thread)> work);

 private:
  void Serve(int thread);

  std::mutex busy_;  // held by the Run that the workers serve

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable left_;
  const absl::FunctionRef<void(int)>* work_ = nullptr;  // null: nothing to join
  uint64_t generation_ = 0;                             // of work_
  bool stopping_ = false;
  std::atomic<int> joined_ = 0;  // workers inside work_; changed under mutex_
  std::vector<std::thread> workers_;
};

}  // namespace mlpserve::cpu
