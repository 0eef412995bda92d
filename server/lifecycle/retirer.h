// Ends blocks on a thread that may block.
//
// The end of a block waits for requests in flight and for the last reader, and unloads. Whoever
// drops the last reference to one (a request's OnDone, a scrape, an unload) must not: so the
// reference that Share gives hands the block over to this object's thread instead.
//
// Threads: every function may be called from any thread. Bound: one thread; the blocks that were
// given and have not ended. Must outlive every reference that it gave.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "server/lifecycle/served_block.h"
#include "server/sync/mutex.h"

namespace mlpserve {

class Retirer {
 public:
  Retirer();
  // Waits until every block that was handed over has ended.
  ~Retirer();
  Retirer(const Retirer&) = delete;
  Retirer& operator=(const Retirer&) = delete;

  // `on_ended` is called on this object's thread after the block has ended; may be empty.
  std::shared_ptr<ServedBlock> Share(std::unique_ptr<ServedBlock> block,
                                     std::function<void()> on_ended);

 private:
  struct Retired {
    std::unique_ptr<ServedBlock> block;
    std::function<void()> on_ended;
  };

  void Serve();

  Mutex mutex_;
  CondVar changed_;
  std::deque<Retired> retired_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace mlpserve
