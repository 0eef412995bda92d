// What the server serves at this moment: every block and version, ready or not, by name.
//
// Filled in at start and on each reload, and read by the transport on every request.
// Thread-safe: readers copy one snapshot pointer, a writer replaces it; entries live for as long as
// a request holds them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "server/model/block_config.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/block_state.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class BlockMetrics;

// One version of one block.
struct CatalogEntry {
  BlockConfig config;   // only its name is set where model.json could not be read
  int64_t version = 0;  // 0: the block failed before a version was chosen
  BlockState state = BlockState::kLoading;
  // Why it is not ready; of one that is ready: why it could not be loaded again.
  std::string reason;
  // Set where `state` is kReady:
  std::shared_ptr<InferSink> sink;
  std::shared_ptr<BlockMetrics> metrics;
};

class Catalog {
 public:
  using Entry = std::shared_ptr<const CatalogEntry>;

  // Adds the entry, or replaces the one of the same name and version.
  void Put(CatalogEntry entry);
  // Says why something about an entry that goes on as it is did not work. Nothing without it.
  void SetReason(const std::string& name, int64_t version, std::string reason);
  // Removes every entry, and so lets go of every block.
  void Clear();
  // Removes the entry if it is in this state: one that was loaded again meanwhile stays.
  void Remove(const std::string& name, int64_t version, BlockState state);

  // The version that serves: the highest ready one, or the one that `version` (decimal) names.
  // Errors: NOT_FOUND, no such block or version; INVALID_ARGUMENT, a version that is no positive
  // integer; UNAVAILABLE, not ready, with the reason. Messages name the block and what there is.
  absl::StatusOr<Entry> Find(std::string_view name, std::string_view version) const;

  // The same, whatever state the entry is in.
  absl::StatusOr<Entry> FindAny(std::string_view name, std::string_view version) const;

  // By name, then version.
  std::vector<Entry> All() const;
  // The versions of one block, ascending; empty if there is no such block.
  std::vector<Entry> Versions(std::string_view name) const;

 private:
  using Blocks = std::map<std::string, std::map<int64_t, Entry>, std::less<>>;

  std::shared_ptr<const Blocks> Snapshot() const;
  void Publish(std::shared_ptr<const Blocks> next) ABSL_LOCKS_EXCLUDED(pointer_);

  Mutex writing_;  // one writer at a time builds the next snapshot
  // Held only while the pointer is copied. Not std::atomic<std::shared_ptr>: libstdc++ 12 releases
  // its lock bit in load() with a relaxed store, a race with the next store().
  mutable Mutex pointer_;
  std::shared_ptr<const Blocks> blocks_ ABSL_GUARDED_BY(pointer_) =
      std::make_shared<const Blocks>();
};

}  // namespace mlpserve
