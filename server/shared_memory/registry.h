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
#include <utility>
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

enum class RegionKind : uint8_t { kSystem, kCuda };

// What a client said of a region.
struct RegionInfo {
  RegionKind kind = RegionKind::kSystem;
  std::string name;
  std::string key;      // kSystem
  uint64_t offset = 0;  // kSystem: of the region in what the key names
  int64_t device = 0;   // kCuda
  uint64_t bytes = 0;
};

// FAILED_PRECONDITION: this kind is not offered, as --shared-memory says.
absl::Status SharedMemoryIsOff(RegionKind kind = RegionKind::kSystem);

// What went wrong with the region of that name, named; OK stays OK.
absl::Status OfRegion(std::string_view name, const absl::Status& status);

class SharedRegions {
 public:
  static constexpr size_t kMostNameBytes = 255;

  // `open_cuda` is empty where the backend is not CUDA's.
  explicit SharedRegions(SharedMemory offered, OpenCudaRegion open_cuda = {})
      : offered_(offered), open_cuda_(std::move(open_cuda)) {}

  // `handle`: of kCuda. Errors: INVALID_ARGUMENT, the name or size is none; ALREADY_EXISTS;
  // RESOURCE_EXHAUSTED, there are too many; FAILED_PRECONDITION, this kind is not offered, or the
  // backend has none of it; those of OpenSystemRegion and OpenCudaRegion.
  absl::Status Register(const RegionInfo& info, const std::string& handle = "");

  // Those of the kind; without a name, all. A name that is not registered is no error, as with
  // Triton: clients make sure of it.
  void Unregister(RegionKind kind, std::string_view name);

  // Of the region of this kind and name, else NOT_FOUND; without a name, of all.
  absl::StatusOr<std::vector<RegionInfo>> Infos(RegionKind kind, std::string_view name) const;

  // NOT_FOUND: no such region. INVALID_ARGUMENT: it does not hold these bytes.
  absl::StatusOr<SharedRange> Find(std::string_view name, uint64_t offset, uint64_t bytes) const;

 private:
  struct Entry {
    RegionInfo info;
    std::shared_ptr<const SharedRegion> region;
  };

  absl::StatusOr<std::unique_ptr<SharedRegion>> Open(const RegionInfo& info,
                                                     const std::string& handle) const;
  absl::Status CheckRoom(const std::string& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SharedMemory offered_;
  const OpenCudaRegion open_cuda_;
  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> regions_ ABSL_GUARDED_BY(mutex_);
  // Regions that exist; it outlives them.
  const std::shared_ptr<std::atomic<int64_t>> alive_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace mlpserve
