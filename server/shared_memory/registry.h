// The regions that clients have registered, by name.
//
// Threads: any. A region that is taken out of here lives on in the requests that use it.
// Bounds: kMostSharedRegions, those that only requests hold included, so that files stay for
// connections whatever clients do.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/shared_memory/region.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/shared_memory.h"

namespace mlpserve {

// Part of a region, which it keeps alive.
struct SharedRange {
  std::shared_ptr<const SharedRegion> region;  // null: none
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// What a client said of a region.
struct RegionInfo {
  std::string name;
  std::string key;
  uint64_t offset = 0;  // of the region in what the key names
  uint64_t bytes = 0;
};

// FAILED_PRECONDITION: there is no SharedRegions, as --shared-memory is off.
absl::Status SharedMemoryIsOff();

class SharedRegions {
 public:
  static constexpr size_t kMostNameBytes = 255;

  // Errors: INVALID_ARGUMENT, the name or size is none; ALREADY_EXISTS; RESOURCE_EXHAUSTED, there
  // are too many; those of OpenSystemRegion.
  absl::Status RegisterSystem(const RegionInfo& info);

  // A name that is not registered is no error, as with Triton: clients make sure of it.
  void Unregister(std::string_view name);
  void UnregisterAll();

  // Of the region of this name, else NOT_FOUND; without a name, of all.
  absl::StatusOr<std::vector<RegionInfo>> Infos(std::string_view name) const;

  // NOT_FOUND: no such region. INVALID_ARGUMENT: it does not hold these bytes.
  absl::StatusOr<SharedRange> Find(std::string_view name, uint64_t offset, uint64_t bytes) const;

 private:
  struct Entry {
    RegionInfo info;
    std::shared_ptr<const SharedRegion> region;
  };

  absl::Status CheckRoom(const std::string& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> regions_ ABSL_GUARDED_BY(mutex_);
  // Regions that exist; it outlives them.
  const std::shared_ptr<std::atomic<int64_t>> alive_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace mlpserve
