#include "kernels/cpu/worker_team.h"

#include "kernels/cpu/spin.h"

namespace mlpserve::cpu {
namespace {

bool HasCoreForEach(int threads) {
  const unsigned cores = std::thread::hardware_concurrency();  // 0: unknown
  return static_cast<int64_t>(cores) >= threads;
}

}  // namespace

WorkerTeam::WorkerTeam(int threads, std::chrono::nanoseconds spin)
    : spin_(HasCoreForEach(threads) ? spin : spin.zero()) {
  for (int thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread] { Serve(thread); });
  }
}

WorkerTeam::~WorkerTeam() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void WorkerTeam::Run(absl::FunctionRef<void(int)> work) {
  const std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
  if (workers_.empty() || !busy.owns_lock()) {
    work(0);
    return;
  }
  work_ = &work;
  gate_.fetch_add(kOneRun + kOpen);
  if (sleepers_ > 0) {
    // Once the mutex was free, every sleeper either waits for wake_ or has seen the gate.
    { const std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  work(0);
  gate_.fetch_sub(kOpen);
  WaitUntilEmpty();
}

void WorkerTeam::WaitUntilEmpty() {
  const auto empty = [this] { return (gate_.load() & kInside) == 0; };
  if (SpinUntil(spin_, empty)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeps_ = true;
  left_.wait(lock, empty);
  caller_sleeps_ = false;
}

void WorkerTeam::Serve(int thread) {
  Gate served = 0;
  while (!stopping_) {
    if (Enter(&served)) {
      (*work_)(thread);
      Leave();
    }
    WaitForWork(served);
  }
}

void WorkerTeam::WaitForWork(Gate served) {
  if (SpinUntil(spin_, [&] { return HasNews(served); })) return;
  std::unique_lock<std::mutex> lock(mutex_);
  ++sleepers_;
  wake_.wait(lock, [&] { return HasNews(served); });
  --sleepers_;
}

bool WorkerTeam::HasNews(Gate served) const {
  const Gate gate = gate_.load();
  return stopping_ || ((gate & kOpen) != 0 && gate / kOneRun != served);
}

// `served` is the number of the last Run that this worker entered; it enters each only once.
bool WorkerTeam::Enter(Gate* served) {
  Gate gate = gate_.load();
  while ((gate & kOpen) != 0 && gate / kOneRun != *served) {
    if (gate_.compare_exchange_weak(gate, gate + 1)) {
      *served = gate / kOneRun;
      return true;
    }
  }
  return false;
}

void WorkerTeam::Leave() {
  if ((gate_.fetch_sub(1) & kInside) > 1 || !caller_sleeps_) return;
  { const std::lock_guard<std::mutex> lock(mutex_); }
  left_.notify_one();
}

}  // namespace mlpserve::cpu
