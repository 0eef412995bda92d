#include "server/shared_memory/registry.h"

#include <iterator>
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

absl::Status SharedMemoryIsOff(RegionKind kind) {
  return absl::FailedPreconditionError(
      absl::StrCat("expected a server that was started with --shared-memory=",
                   kind == RegionKind::kSystem ? "system" : "cuda",
                   ", found one that reads and writes no such memory of its clients"));
}

absl::Status OfRegion(std::string_view name, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(Named(name), status.message()));
}

absl::StatusOr<std::unique_ptr<SharedRegion>> SharedRegions::Open(const RegionInfo& info,
                                                                  const std::string& handle) const {
  if (info.kind == RegionKind::kSystem) {
    if (!OffersSystem(offered_)) return SharedMemoryIsOff(info.kind);
    return OpenSystemRegion(info.key, info.offset, info.bytes);
  }
  if (!OffersCuda(offered_)) return SharedMemoryIsOff(info.kind);
  if (open_cuda_) return open_cuda_(handle, info.device, info.bytes);
  return absl::FailedPreconditionError(
      "expected a server that computes on a GPU (--backend=cuda), found one that does not");
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

// What opening takes, requests do not wait for.
absl::Status SharedRegions::Register(const RegionInfo& info, const std::string& handle) {
  MLPSERVE_RETURN_IF_ERROR(CheckInfo(info));
  {
    MutexLock lock(mutex_);
    MLPSERVE_RETURN_IF_ERROR(CheckRoom(info.name));
  }
  auto opened = Open(info, handle);
  MLPSERVE_RETURN_IF_ERROR(OfRegion(info.name, opened.status()));
  MutexLock lock(mutex_);
  MLPSERVE_RETURN_IF_ERROR(CheckRoom(info.name));  // of others, meanwhile
  alive_->fetch_add(1);
  const auto end = [alive = alive_](const SharedRegion* region) {
    delete region;
    alive->fetch_sub(1);
  };
  regions_.emplace(info.name, Entry{.info = info, .region = {opened->release(), end}});
  return absl::OkStatus();
}

void SharedRegions::Unregister(RegionKind kind, std::string_view name) {
  std::vector<Entry> ended;  // goes after the lock
  MutexLock lock(mutex_);
  for (auto entry = regions_.begin(); entry != regions_.end();) {
    const bool meant = entry->second.info.kind == kind && (name.empty() || entry->first == name);
    if (meant) ended.push_back(std::move(entry->second));
    entry = meant ? regions_.erase(entry) : std::next(entry);
  }
}

absl::StatusOr<std::vector<RegionInfo>> SharedRegions::Infos(RegionKind kind,
                                                             std::string_view name) const {
  std::vector<RegionInfo> infos;
  MutexLock lock(mutex_);
  for (const auto& [key, entry] : regions_) {
    if (entry.info.kind == kind && (name.empty() || name == key)) infos.push_back(entry.info);
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
