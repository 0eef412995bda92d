// Which backend computes, as the flags ask and the machine allows.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/engine/backend.h"
#include "server/metrics/metrics.h"
#include "server/shared_memory/region.h"

namespace mlpserve {

struct ChosenBackend {
  std::unique_ptr<Backend> backend;
  std::vector<std::string> losses;  // what it must do without, a line each, for the log
  OpenCudaRegion open_cuda_region;  // empty: it is no CUDA backend
};

// `default_cache` is where compiled kernels are kept if the flags name no folder; empty: nowhere.
// What is lost shows in the gauge mlpserve_degraded.
// Errors, for the one line of a refusal to start: UNAVAILABLE, the GPU that was asked for cannot be
// used; FAILED_PRECONDITION, the cache folder that was asked for cannot be used.
absl::StatusOr<ChosenBackend> ChooseBackend(const Config& config, const std::string& default_cache,
                                            Metrics& metrics);

}  // namespace mlpserve
