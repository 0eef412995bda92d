#include "server/signals.h"

#include <csignal>
#include <ctime>
#include <utility>

namespace mlpserve {
namespace {

bool IsIgnored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// SIGHUP is not among them where it is ignored, which is what nohup asks for.
sigset_t StopSet() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT}) sigaddset(&signals, signal);
  if (!IsIgnored(SIGHUP)) sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

StopSignals::StopSignals(std::function<void()> on_signal)
    : on_signal_(std::move(on_signal)), signals_(StopSet()) {
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  // A shell ignores two of them for what it runs in the background, and a system may discard an
  // ignored signal though a thread waits for it.
  for (const int signal : {SIGINT, SIGQUIT}) std::signal(signal, SIG_DFL);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a write over the limit of a file fails, and is said to
  thread_ = std::thread(&StopSignals::Listen, this);
}

StopSignals::~StopSignals() {
  stop_ = true;
  pthread_kill(thread_.native_handle(), SIGINT);  // one that it waits for
  thread_.join();
}

void StopSignals::Listen() {
  // Looks at stop_ now and then: a sandbox's kernel may not wake it for a signal of one thread.
  constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 200'000'000};
  while (!stop_) {
    if (sigtimedwait(&signals_, nullptr, &kLook) < 0) continue;
    if (!stop_) on_signal_();
  }
}

}  // namespace mlpserve
