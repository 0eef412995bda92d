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
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/tiles/config.h"
#include "server/tools/bench/kernel_bench.h"

namespace mlpserve::tools {

// What makes steps: everything is borrowed. `library` may be null.
struct GpuTools {
  cuda::KernelStore& store;
  std::shared_ptr<const cuda::CublasLt> library;
  const cuda::Stream& stream;
};

// One way, apart from the weights that it reads.
struct Way {
  std::string variant;
  bool is_plain = false;                     // the bare product
  std::optional<cuda::KernelConfig> config;  // nothing: the library's,
  size_t algorithm = 0;                      // and this one of its algorithms
};

inline constexpr char kPlainVariant[] = "cublaslt plain";
inline constexpr int kMostPlainAlgorithms = 32;

// The product alone, stored as `y` is: what the library's plain way computes.
cuda::Product PlainProduct(const cuda::Product& product, void* y, int64_t y_stride);

// The wanted ways. Of the library's every algorithm is there: which is fastest, a clock must say.
struct Ways {
  std::vector<Way> ours;     // and the library's, where one is chosen or named
  std::vector<Way> library;  // with a kernel of ours behind it; only where all are wanted
  std::vector<Way> plain;
};
// Errors: INVALID_ARGUMENT, a named variant that there is not, with all that there are.
absl::StatusOr<Ways> FindWays(const cuda::Product& product, const cuda::Product& plain, int64_t m,
                              const Variants& variants, const GpuTools& tools);

// Of every algorithm of the library, in the order of Way::algorithm.
absl::StatusOr<std::vector<std::shared_ptr<const cuda::Step>>> MakeLibrarySteps(
    const cuda::Product& product, int64_t m, bool is_plain, const GpuTools& tools);

struct MadeStep {
  std::shared_ptr<const cuda::Step> step;
  std::optional<Resources> resources;
};
// Of a way of ours, or one of the library's.
absl::StatusOr<MadeStep> MakeStep(const Way& way, const cuda::Product& product, int64_t m,
                                  const GpuTools& tools);

}  // namespace mlpserve::tools
