// What the server says of its own state: is it ready, and which block is in which state.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "server/catalog/catalog.h"
#include "server/catalog/serving_state.h"
#include "server/metrics/metrics.h"

namespace mlpserve {

// OK, or UNAVAILABLE with the reason in one line.
absl::Status Readiness(const ServingState& state, const Catalog& catalog);

std::vector<ModelStatus> ModelStates(const Catalog& catalog);

}  // namespace mlpserve
