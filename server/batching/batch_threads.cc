#include "server/batching/batch_threads.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>

#include "server/machine/limits.h"

namespace mlpserve {
namespace {

int ChosenRunners(int wanted) {
  if (wanted > 0) return wanted;
  return std::clamp(UsableProcessors() / 2, 2, 8);
}

}  // namespace

BatchThreads::BatchThreads(const Options& options) {
  waker_ = std::thread(&BatchThreads::Wake, this);
  for (int i = 0; i < ChosenRunners(options.runners); ++i) {
    runners_.emplace_back(&BatchThreads::Serve, this);
  }
}

BatchThreads::~BatchThreads() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    wake_.NotifyAll();
    runnable_.NotifyAll();
  }
  waker_.join();
  for (std::thread& runner : runners_) runner.join();
}

void BatchThreads::WakeAt(Client& client, TimePoint at) {
  MutexLock lock(mutex_);
  if (client.wake_at_ != TimePoint::max()) wakes_.erase({client.wake_at_, &client});
  client.wake_at_ = at;
  if (at == TimePoint::max()) return;
  wakes_.insert({at, &client});
  if (wakes_.begin()->second == &client) wake_.NotifyOne();
}

void BatchThreads::HandOver(Client& client) {
  MutexLock lock(mutex_);
  Queue(client);
}

bool BatchThreads::TryHandOver(Client& client) {
  MutexLock lock(mutex_);
  if (idle_runners_ <= queue_.size()) return false;  // those are about to take what is queued
  Queue(client);
  return true;
}

void BatchThreads::Queue(Client& client) {
  queue_.push_back(&client);
  waiting_.store(queue_.size(), std::memory_order_relaxed);
  runnable_.NotifyOne();
}

void BatchThreads::Leave(Client& client) {
  MutexLock lock(mutex_);
  Forget(client);
  while (client.inside_ > 0) left_.Wait(mutex_);
  Forget(client);  // what a thread that was inside asked for last
}

void BatchThreads::Forget(Client& client) {
  if (client.wake_at_ != TimePoint::max()) wakes_.erase({client.wake_at_, &client});
  client.wake_at_ = TimePoint::max();
  std::erase(queue_, &client);
  waiting_.store(queue_.size(), std::memory_order_relaxed);
}

void BatchThreads::LeaveClient(Client& client) {
  MutexLock lock(mutex_);
  if (--client.inside_ == 0) left_.NotifyAll();
}

void BatchThreads::Wake() {
  pthread_setname_np(pthread_self(), "batch-wake");
  prctl(PR_SET_TIMERSLACK, 1);  // the usual 50 us would be added to each queue delay
  for (;;) {
    Client* due = nullptr;
    {
      MutexLock lock(mutex_);
      while (!stop_ && (wakes_.empty() || wakes_.begin()->first > Clock::now())) {
        if (wakes_.empty()) {
          wake_.Wait(mutex_);
        } else {
          wake_.WaitUntil(mutex_, wakes_.begin()->first);
        }
      }
      if (stop_) return;
      due = wakes_.begin()->second;
      wakes_.erase(wakes_.begin());
      due->wake_at_ = TimePoint::max();
      ++due->inside_;
    }
    due->OnWake();
    LeaveClient(*due);
  }
}

void BatchThreads::Serve() {
  pthread_setname_np(pthread_self(), "batch-runner");
  for (;;) {
    Client* client = nullptr;
    {
      MutexLock lock(mutex_);
      ++idle_runners_;
      while (!stop_ && queue_.empty()) runnable_.Wait(mutex_);
      --idle_runners_;
      if (stop_) return;
      client = queue_.front();
      queue_.pop_front();
      waiting_.store(queue_.size(), std::memory_order_relaxed);
      ++client->inside_;
    }
    client->OnRunner();
    LeaveClient(*client);
  }
}

}  // namespace mlpserve
