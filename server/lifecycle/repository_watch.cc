#include "server/lifecycle/repository_watch.h"

#include <utility>

namespace mlpserve {
namespace {

// Another model.json makes another block of every version.
std::set<int64_t> ChangedVersions(const BlockSignature& before, const BlockSignature& now) {
  std::set<int64_t> changed;
  for (const auto& [version, weights] : now.weights) {
    const auto taken = before.weights.find(version);
    const bool same = taken != before.weights.end() && taken->second == weights;
    if (!same || before.model_json != now.model_json) changed.insert(version);
  }
  return changed;
}

}  // namespace

std::vector<RepositoryWatch::Change> RepositoryWatch::Look(const Signatures& now) {
  std::set<std::string> names;
  for (const auto& [name, signature] : now) names.insert(name);
  for (const auto& [name, signature] : taken_) names.insert(name);
  std::vector<Change> changes;
  for (const std::string& name : names) LookAt(name, now, changes);
  return changes;
}

void RepositoryWatch::LookAt(const std::string& name, const Signatures& now,
                             std::vector<Change>& changes) {
  const auto found = now.find(name);
  const auto taken = taken_.find(name);
  const bool gone = found == now.end();
  const BlockSignature current = gone ? BlockSignature{} : found->second;
  if (!gone && taken != taken_.end() && taken->second == current) {
    unsettled_.erase(name);
    return;
  }
  const auto before = unsettled_.find(name);
  if (before == unsettled_.end() || before->second != current) {
    unsettled_[name] = current;
    return;
  }
  unsettled_.erase(before);
  const BlockSignature was = taken == taken_.end() ? BlockSignature{} : taken->second;
  changes.push_back({.name = name, .gone = gone, .versions = ChangedVersions(was, current)});
  if (gone) {
    taken_.erase(name);
  } else {
    taken_[name] = current;
  }
}

}  // namespace mlpserve
