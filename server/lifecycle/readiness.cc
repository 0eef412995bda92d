#include "server/lifecycle/readiness.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mlpserve {

absl::Status Readiness(const ServingState& state, const Catalog& catalog) {
  if (state.ready()) return absl::OkStatus();
  if (state.phase() == Phase::kLost) return absl::UnavailableError("a device is lost");
  if (state.phase() > Phase::kServing) return absl::UnavailableError("draining");
  std::vector<std::string> waiting;
  for (const Catalog::Entry& entry : catalog.All()) {
    if (entry->state == BlockState::kReady) continue;
    waiting.push_back(absl::StrCat(entry->config.name, " is ", std::string(Name(entry->state))));
    if (entry->state == BlockState::kLoading && !entry->reason.empty()) {
      absl::StrAppend(&waiting.back(), " (", entry->reason, ")");
    }
  }
  if (catalog.All().empty()) return absl::UnavailableError("no block in the model repository");
  return absl::UnavailableError(absl::StrJoin(waiting, ", "));
}

std::vector<ModelStatus> ModelStates(const Catalog& catalog) {
  std::vector<ModelStatus> states;
  for (const Catalog::Entry& entry : catalog.All()) {
    states.push_back(
        {.model = entry->config.name, .version = entry->version, .state = entry->state});
  }
  return states;
}

}  // namespace mlpserve
