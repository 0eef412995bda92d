#include "server/shared_memory/registry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/shared_memory/system_region.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

std::string Named(std::string_view name) {
  return absl::StrCat("shared memory region ", QuotedShort(name), ": ");
}

absl::Status CheckInfo(const RegionInfo& info) {
  if (info.name.empty() || info.name.size() > SharedRegions::kMostNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a name of 1 to ", SharedRegions::kMostNameBytes,
                     " bytes for the shared memory region, found ", QuotedShort(info.name)));
  }
  if (info.bytes > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Named(info.name), "byte_size: expected 1 or more, found 0"));
}

absl::Status NotFound(std::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("no shared memory region is registered as ", QuotedShort(name)));
}

}  // namespace

absl::Status SharedMemoryIsOff() {
  return absl::FailedPreconditionError(
      "expected a server that was started with --shared-memory=system, found one that reads and "
      "writes no memory of its clients");
}

absl::Status SharedRegions::CheckRoom(const std::string& name) const {
  if (regions_.count(name) > 0) {
    return absl::AlreadyExistsError(absl::StrCat(Named(name), "it is registered already"));
  }
  const int64_t alive = alive_->load();
  if (alive < kMostSharedRegions) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(Named(name), "expected at most ", kMostSharedRegions,
                   " regions that are registered or in use, found ", alive, " before it"));
}

absl::Status SharedRegions::RegisterSystem(const RegionInfo& info) {
  MLPSERVE_RETURN_IF_ERROR(CheckInfo(info));
  // The lock is kept while the object is opened, which waits for nothing: so two of a name, or one
  // too many, are refused before they cost anything.
  MutexLock lock(mutex_);
  MLPSERVE_RETURN_IF_ERROR(CheckRoom(info.name));
  auto opened = OpenSystemRegion(info.key, info.offset, info.bytes);
  if (!opened.ok()) {
    return absl::Status(opened.status().code(),
                        absl::StrCat(Named(info.name), opened.status().message()));
  }
  alive_->fetch_add(1);
  const auto end = [alive = alive_](const SharedRegion* region) {
    delete region;
    alive->fetch_sub(1);
  };
  regions_.emplace(info.name, Entry{.info = info, .region = {opened->release(), end}});
  return absl::OkStatus();
}

void SharedRegions::Unregister(std::string_view name) {
  MutexLock lock(mutex_);
  const auto found = regions_.find(name);
  if (found != regions_.end()) regions_.erase(found);
}

void SharedRegions::UnregisterAll() {
  MutexLock lock(mutex_);
  regions_.clear();
}

absl::StatusOr<std::vector<RegionInfo>> SharedRegions::Infos(std::string_view name) const {
  std::vector<RegionInfo> infos;
  MutexLock lock(mutex_);
  for (const auto& [key, entry] : regions_) {
    if (name.empty() || name == key) infos.push_back(entry.info);
  }
  if (infos.empty() && !name.empty()) return NotFound(name);
  return infos;
}

absl::StatusOr<SharedRange> SharedRegions::Find(std::string_view name, uint64_t offset,
                                                uint64_t bytes) const {
  MutexLock lock(mutex_);
  const auto found = regions_.find(name);
  if (found == regions_.end()) return NotFound(name);
  const Entry& entry = found->second;
  if (bytes > entry.info.bytes || offset > entry.info.bytes - bytes) {
    return absl::InvalidArgumentError(absl::StrCat(Named(name), "expected a range of its ",
                                                   entry.info.bytes, " bytes, found ", bytes,
                                                   " bytes from offset ", offset, " on"));
  }
  return SharedRange{.region = entry.region, .offset = offset, .bytes = bytes};
}

}  // namespace mlpserve
