// The life of the blocks of a repository: reads, loads and warms each, loads it again beside what
// serves, takes it out of service, and tells the catalog, the metrics and the log how it went. A
// block that fails harms no other, and a load that fails leaves what served before it.
//
//   LOADING -> READY -> UNLOADING -> gone        (Load, Unload; what is gone is NOT_FOUND)
//      |         |
//      |         +-> READY, the new one          (loaded again: one swap in the catalog; requests
//      |                                          that have the old one are served by it, and it
//      |                                          ends after its last batch)
//      +----> UNAVAILABLE, with the reason       (it failed)
//
// Threads: Announce, Load, Update and Finish one at a time, on a thread that may block; Unload on
// any, also meanwhile. Ownership: the catalog's entries hold the blocks that serve, through their
// sinks, and so do requests in flight; whoever lets go last, a Retirer ends the block.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/batching/batch_threads.h"
#include "server/catalog/catalog.h"
#include "server/engine/backend.h"
#include "server/lifecycle/retirer.h"
#include "server/lifecycle/served_block.h"
#include "server/metrics/metrics.h"
#include "server/model/repository.h"
#include "server/sync/mutex.h"

namespace mlpserve {

struct LoadSummary {
  int loaded = 0;
  std::vector<std::string> failed;  // "name/version", or the name where no version was chosen
};

class Loader {
 public:
  // All must outlive the Loader. So must the backend and the threads the retirer, and the catalog
  // too, which is told there what has ended.
  struct Needs {
    Backend& backend;
    BatchThreads& threads;
    Retirer& retirer;
    Catalog& catalog;
    Metrics& metrics;
    // Told, on any thread, that the device is lost; perhaps more than once. May be empty.
    std::function<void(const absl::Status& reason)> on_lost;
    bool allow_non_finite = false;  // numbers in tensors (ReadOptions)
  };

  explicit Loader(Needs needs) : needs_(std::move(needs)) {}

  // Puts every block and version of `scan` into the catalog as LOADING, or as failed where its
  // model.json is wrong.
  void Announce(const RepositoryScan& scan);

  // Loads them one after the other, until `stop` is requested: then it ends within the time that
  // Backend::Load promises, and what was not loaded stays LOADING.
  LoadSummary Load(const RepositoryScan& scan, const std::stop_token& stop);

  // Brings what is served of the block to what `block` says, beside traffic: loads the versions
  // that do not serve yet, and those of `changed` again, then takes those out of service that are
  // not asked for any more. Where none can be loaded, what served goes on.
  // Errors: the first of a version's, or of the config; CANCELLED where `stop` asked.
  absl::Status Update(const RepositoryBlock& block, const std::set<int64_t>& changed,
                      const std::stop_token& stop);

  // Unloads every version, and forgets those that failed. NOT_FOUND, there is none.
  absl::Status UnloadAll(const std::string& name);

  // Takes the block out of service: new requests are UNAVAILABLE from now on, those that it has
  // are served, then it ends and leaves the catalog. Returns at once.
  // Errors: NOT_FOUND, no such version is loaded.
  absl::Status Unload(const std::string& name, int64_t version);

  // Waits until no batch of any block runs or waits, ends the blocks' metrics and empties the
  // catalog: the retirer has every block that no request holds.
  void Finish();

 private:
  using Version = std::pair<std::string, int64_t>;

  // What a block's versions came to.
  struct Outcome {
    std::set<int64_t> serving;
    int loaded = 0;
    std::vector<int64_t> failed;
    absl::Status first_error;
  };

  bool Serves(const std::string& name, int64_t version);
  std::vector<int64_t> Serving(const std::string& name);
  Outcome LoadVersions(const RepositoryBlock& block, const std::set<int64_t>& changed,
                       const LoadControl& control);
  absl::Status TryVersion(const BlockConfig& config, int64_t version, const LoadControl& control,
                          Outcome& outcome);
  // The block's own error, or OK once it serves.
  absl::Status LoadVersion(const BlockConfig& config, int64_t version, const LoadControl& control);
  void Retire(const RepositoryBlock& block, const Outcome& outcome);
  void KeepServing(const std::string& name, const absl::Status& status);
  void Serve(const BlockConfig& config, int64_t version, std::unique_ptr<ServedBlock> block,
             std::shared_ptr<BlockMetrics> metrics);
  LoadControl WithProgress(const LoadControl& control, const BlockConfig& config, int64_t version);
  void Fail(const BlockConfig& config, int64_t version, const absl::Status& status);

  const Needs needs_;
  Mutex mutex_;
  std::map<Version, std::shared_ptr<ServedBlock>> served_ ABSL_GUARDED_BY(mutex_);
};

// Bytes that the largest request of these blocks takes on the wire: max_rows rows and the message
// around them.
int64_t LargestRequestBytes(const RepositoryScan& scan);

}  // namespace mlpserve
