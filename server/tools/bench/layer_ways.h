// The ways in which a layer's product can be computed on a GPU, and the steps that do.
// Threads: free functions without state, and one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/candidates.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/layer_data.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/config.h"
#include "server/tools/bench/kernel_bench.h"

namespace mlpserve::tools {

// What building steps takes; everything is borrowed. `library` may be null.
struct GpuTools {
  cuda::KernelStore& store;
  std::shared_ptr<const cuda::CublasLt> library;
  const cuda::Stream& stream;
};

// A layer's plan and its weights.
struct LayerOnDevice {
  const cuda::LayerPlan& plan;
  const cuda::LayerData& data;
};

// One way to compute a layer.
struct Way {
  std::string variant;
  bool is_plain = false;                     // the bare product
  std::optional<cuda::KernelConfig> config;  // nothing: the library's,
  size_t algorithm = 0;                      // and this one of its algorithms
};

inline constexpr char kPlainVariant[] = "cublaslt plain";
inline constexpr int kMostPlainAlgorithms = 32;

// The ways to measure. Every algorithm of the library is listed: only timing can tell which one is
// fastest.
struct Ways {
  std::vector<Way> ours;     // and the library's, where one is chosen or named
  std::vector<Way> library;  // with a kernel of ours behind it; only where all are wanted
  std::vector<Way> plain;
};
// `plain` is the product alone. Errors: INVALID_ARGUMENT, a named variant that there is not, with
// all that there are.
absl::StatusOr<Ways> FindWays(const LayerOnDevice& layer, const LayerOnDevice& plain,
                              const Variants& variants, const GpuTools& tools);

// Every algorithm of the library, in the order of Way::algorithm.
absl::StatusOr<std::vector<cuda::Candidate>> MakeLibrary(const LayerOnDevice& layer, bool is_plain,
                                                         const GpuTools& tools);

// Builds the step of a way, whether the kernel is ours or the library's.
absl::StatusOr<cuda::Candidate> MakeCandidate(const Way& way, const LayerOnDevice& layer,
                                              const GpuTools& tools);
// Null for the library's ways.
std::optional<Resources> ResourcesOf(const cuda::Candidate& candidate);

}  // namespace mlpserve::tools
