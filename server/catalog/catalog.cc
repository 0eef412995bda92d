#include "server/catalog/catalog.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status/status_macros.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

// absl::string_view is a type of its own in Debian's Abseil.
std::string Text(std::string_view view) { return std::string(view); }

// 0 for the empty string: any version.
absl::StatusOr<int64_t> ParseVersion(std::string_view name, std::string_view version) {
  if (version.empty()) return 0;
  int64_t number = 0;
  const auto [end, error] =
      std::from_chars(version.data(), version.data() + version.size(), number);
  if (error != std::errc() || end != version.data() + version.size() || number < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("block ", QuotedShort(name),
                     ": expected a positive integer as version, found ", QuotedShort(version)));
  }
  return number;
}

using Versions = std::map<int64_t, Catalog::Entry>;

std::string Numbers(const Versions& versions) {
  return absl::StrJoin(versions, ", ", [](std::string* out, const Versions::value_type& version) {
    absl::StrAppend(out, version.first);
  });
}

absl::StatusOr<Catalog::Entry> Choose(std::string_view name, const Versions& versions,
                                      int64_t wanted) {
  if (wanted != 0) {
    const auto found = versions.find(wanted);
    if (found != versions.end()) return found->second;
    return absl::NotFoundError(absl::StrCat("block ", QuotedShort(name), " has no version ", wanted,
                                            "; it has: ", Numbers(versions)));
  }
  for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
    if (version->second->state == BlockState::kReady) return version->second;
  }
  return versions.rbegin()->second;
}

}  // namespace

std::shared_ptr<const Catalog::Blocks> Catalog::Snapshot() const {
  MutexLock lock(pointer_);
  return blocks_;
}

void Catalog::Put(CatalogEntry entry) {
  MutexLock writing(writing_);
  auto blocks = std::make_shared<Blocks>(*Snapshot());
  auto& versions = (*blocks)[entry.config.name];
  const int64_t version = entry.version;
  versions[version] = std::make_shared<const CatalogEntry>(std::move(entry));
  Publish(std::move(blocks));
}

void Catalog::SetReason(const std::string& name, int64_t version, std::string reason) {
  MutexLock writing(writing_);
  auto blocks = std::make_shared<Blocks>(*Snapshot());
  const auto block = blocks->find(name);
  if (block == blocks->end()) return;
  const auto entry = block->second.find(version);
  if (entry == block->second.end()) return;
  auto told = std::make_shared<CatalogEntry>(*entry->second);
  told->reason = std::move(reason);
  entry->second = std::move(told);
  Publish(std::move(blocks));
}

void Catalog::Remove(const std::string& name, int64_t version, BlockState state) {
  MutexLock writing(writing_);
  auto blocks = std::make_shared<Blocks>(*Snapshot());
  const auto block = blocks->find(name);
  if (block == blocks->end()) return;
  const auto entry = block->second.find(version);
  if (entry == block->second.end() || entry->second->state != state) return;
  block->second.erase(entry);
  if (block->second.empty()) blocks->erase(block);
  Publish(std::move(blocks));
}

void Catalog::Clear() {
  MutexLock writing(writing_);
  Publish(std::make_shared<const Blocks>());
}

void Catalog::Publish(std::shared_ptr<const Blocks> next) {
  MutexLock lock(pointer_);
  blocks_.swap(next);  // `next` frees the last snapshot after the lock is gone
}

absl::StatusOr<Catalog::Entry> Catalog::FindAny(std::string_view name,
                                                std::string_view version) const {
  MLPSERVE_ASSIGN_OR_RETURN(const auto wanted, ParseVersion(name, version));
  const auto blocks = Snapshot();
  const auto found = blocks->find(name);
  if (found == blocks->end()) {
    return absl::NotFoundError(absl::StrCat("no block is named ", QuotedShort(name)));
  }
  return Choose(name, found->second, wanted);
}

absl::StatusOr<Catalog::Entry> Catalog::Find(std::string_view name,
                                             std::string_view version) const {
  auto entry = FindAny(name, version);
  if (!entry.ok() || (*entry)->state == BlockState::kReady) return entry;
  return absl::UnavailableError(
      absl::StrCat("block ", QuotedShort(name), " is ", Text(Name((*entry)->state)),
                   (*entry)->reason.empty() ? "" : ": ", (*entry)->reason));
}

std::vector<Catalog::Entry> Catalog::All() const {
  std::vector<Entry> entries;
  const auto blocks = Snapshot();
  for (const auto& [name, versions] : *blocks) {
    for (const auto& [version, entry] : versions) entries.push_back(entry);
  }
  return entries;
}

std::vector<Catalog::Entry> Catalog::Versions(std::string_view name) const {
  std::vector<Entry> entries;
  const auto blocks = Snapshot();
  const auto found = blocks->find(name);
  if (found == blocks->end()) return entries;
  for (const auto& [version, entry] : found->second) entries.push_back(entry);
  return entries;
}

}  // namespace mlpserve
