#include "server/signals.h"

#include <csignal>
#include <utility>

namespace mlpserve {
namespace {

sigset_t StopSet() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

StopSignals::StopSignals(std::function<void()> on_signal) : on_signal_(std::move(on_signal)) {
  const sigset_t signals = StopSet();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  thread_ = std::thread(&StopSignals::Listen, this);
}

StopSignals::~StopSignals() {
  stop_ = true;
  pthread_kill(thread_.native_handle(), SIGINT);  // one that it waits for
  thread_.join();
}

void StopSignals::Listen() {
  const sigset_t signals = StopSet();
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (stop_) return;
    on_signal_();
  }
}

}  // namespace mlpserve
