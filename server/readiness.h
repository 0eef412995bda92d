// What the server says of its own state: is it ready, and which block is in which state.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "server/catalog.h"
#include "server/metrics/metrics.h"
#include "server/serving_state.h"

namespace mlpserve {

// OK, or UNAVAILABLE with the reason in one line.
absl::Status Readiness(const ServingState& state, const Catalog& catalog);

std::vector<ModelStatus> ModelStates(const Catalog& catalog);

}  // namespace mlpserve
