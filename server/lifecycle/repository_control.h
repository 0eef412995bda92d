// Loads and unloads blocks while the server runs: at a client's wish, or as the repository changes.
//
// Loads run one after the other, on the one thread that is in Run; requests for them wait in a
// queue. What a load does to what serves is the Loader's affair.
//
// Threads: Load and Unload on any; Run on one that may block. Bounds: kMostWaiting requests; over
// it RESOURCE_EXHAUSTED.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/catalog/model_control.h"
#include "server/lifecycle/loader.h"
#include "server/lifecycle/repository_watch.h"
#include "server/model/repository.h"
#include "server/sync/mutex.h"

namespace mlpserve {

class RepositoryControl final : public ModelControl {
 public:
  static constexpr size_t kMostWaiting = 64;

  struct Options {
    std::string repository;
    // How often the repository is looked at; zero: never.
    std::chrono::milliseconds poll_interval{0};
    // Of a request, as fixed at start: a block that takes more is loaded with a warning.
    int64_t max_message_bytes = 0;
    // Called after each change, on Run's thread; may be empty.
    std::function<void()> on_change;
  };

  // The loader must outlive this.
  RepositoryControl(Options options, Loader& loader);
  ~RepositoryControl() override;

  // What the Loader loads at first, which polling compares with.
  void SetLoaded(const RepositoryScan& scan) { watch_.emplace(SignaturesOf(scan)); }

  // Serves requests and polls until `stop` is requested; what then waits, and what comes later, is
  // answered with UNAVAILABLE.
  void Run(const std::stop_token& stop);

  // Besides the errors of the Loader and of the block's files: NOT_FOUND, no such block in the
  // repository; INVALID_ARGUMENT, a config or file that cannot be.
  void Load(LoadRequest request, Done done) override;
  void Unload(const std::string& name, Done done) override;

 private:
  struct Job {
    LoadRequest load;  // of an unload only the name
    bool unload = false;
    Done done;
  };

  static RepositoryWatch::Signatures SignaturesOf(const RepositoryScan& scan);

  void Enqueue(Job job);
  // Waits for the next job until `deadline`, or until `stop` is requested.
  std::optional<Job> Next(TimePoint deadline, const std::stop_token& stop);
  void RefuseAll();
  void Do(const Job& job, const std::stop_token& stop);
  absl::Status LoadNow(const LoadRequest& request, const std::stop_token& stop);
  absl::Status LoadSent(const LoadRequest& request, const std::stop_token& stop);
  absl::Status Update(const RepositoryBlock& block, const std::set<int64_t>& changed,
                      const std::stop_token& stop);
  void Poll(const std::stop_token& stop);
  void Changed() const {
    if (options_.on_change) options_.on_change();
  }

  const Options options_;
  Loader& loader_;
  std::optional<RepositoryWatch> watch_;  // Run's thread, once it runs; so the next
  bool readable_ = true;                  // the repository, at the last look

  Mutex mutex_;
  CondVar changed_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace mlpserve
