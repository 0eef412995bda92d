// SIGTERM, SIGINT, SIGHUP and SIGQUIT, heard by a thread of their own: all mean the same, since a
// terminal that closes (SIGHUP) or a supervisor that prefers SIGQUIT must lose no request either.
// Under nohup a SIGHUP is nothing.
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace mlpserve {

class StopSignals {
 public:
  // Blocks these signals in this thread and in every thread started from it: make one before any
  // other thread exists. Also ignores SIGPIPE, since a client that leaves is no reason to die.
  // `on_signal` is called for each, on the thread that waits for them.
  explicit StopSignals(std::function<void()> on_signal);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  void Listen();

  const std::function<void()> on_signal_;
  const sigset_t signals_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace mlpserve
