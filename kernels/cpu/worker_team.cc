#include "kernels/cpu/worker_team.h"

#include "hwy/cache_control.h"

namespace mlpserve::cpu {
namespace {

// How often the caller looks for the workers' leaving before it sleeps: some 10 µs. They leave
// within a task of each other, so that sleeping would usually cost more.
constexpr int kSpins = 500;

}  // namespace

WorkerTeam::WorkerTeam(int threads) {
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
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    work_ = &work;
    ++generation_;
  }
  wake_.notify_all();
  work(0);
  std::unique_lock<std::mutex> lock(mutex_);
  work_ = nullptr;
  if (joined_ == 0) return;
  lock.unlock();
  for (int i = 0; i < kSpins && joined_.load(std::memory_order_acquire) > 0; ++i) hwy::Pause();
  lock.lock();
  left_.wait(lock, [this] { return joined_ == 0; });
}

void WorkerTeam::Serve(int thread) {
  uint64_t served = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || (work_ != nullptr && generation_ != served); });
    if (stopping_) return;
    const absl::FunctionRef<void(int)> work = *work_;
    served = generation_;
    ++joined_;
    lock.unlock();
    work(thread);
    lock.lock();
    if (--joined_ == 0) left_.notify_one();
  }
}

}  // namespace mlpserve::cpu
