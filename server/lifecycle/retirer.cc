#include "server/lifecycle/retirer.h"

#include <pthread.h>

#include <utility>

namespace mlpserve {

Retirer::Retirer() : thread_(&Retirer::Serve, this) {}

Retirer::~Retirer() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyOne();
  }
  thread_.join();
}

std::shared_ptr<ServedBlock> Retirer::Share(std::unique_ptr<ServedBlock> block,
                                            std::function<void()> on_ended) {
  return {block.release(), [this, on_ended = std::move(on_ended)](ServedBlock* last) {
            MutexLock lock(mutex_);
            retired_.push_back({std::unique_ptr<ServedBlock>(last), on_ended});
            changed_.NotifyOne();
          }};
}

void Retirer::Serve() {
  pthread_setname_np(pthread_self(), "retirer");
  for (;;) {
    Retired next;
    {
      MutexLock lock(mutex_);
      while (!stop_ && retired_.empty()) changed_.Wait(mutex_);
      if (retired_.empty()) return;
      next = std::move(retired_.front());
      retired_.pop_front();
    }
    next.block.reset();
    if (next.on_ended) next.on_ended();
  }
}

}  // namespace mlpserve
