// The server's status for people: reads every block's counters each five seconds, so that the page
// can tell what happened in the last minute.
//
// Threads: one of its own, which sleeps; Page may be called from any thread. Reads the catalog and
// the metrics, which must outlive it; adds nothing to the path of a request.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/catalog/catalog.h"
#include "server/metrics/metrics.h"
#include "server/status/history.h"
#include "server/sync/mutex.h"

namespace mlpserve {

// What does not change while the server runs.
struct StatusFacts {
  std::string version;
  std::string backend;
  std::vector<std::string> devices;
  std::vector<std::string> losses;
};

class Status {
 public:
  Status(StatusFacts facts, const Catalog& catalog, const Metrics& metrics,
         std::function<absl::Status()> readiness);

  std::string Page() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Sample(const std::stop_token& stop) ABSL_LOCKS_EXCLUDED(mutex_);

  const StatusFacts facts_;
  const Catalog& catalog_;
  const Metrics& metrics_;
  const std::function<absl::Status()> readiness_;
  const History::TimePoint start_;
  Mutex mutex_;
  CondVar woken_;
  History history_ ABSL_GUARDED_BY(mutex_);
  std::jthread sampler_;  // last: it ends before what it reads goes
};

}  // namespace mlpserve
