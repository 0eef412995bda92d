// A product by cuBLASLt, with its bias where it can add one (LibraryEpilogueOf). What else has to
// follow it is the caller's (candidates.h).
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/plan/layer_plan.h"

namespace mlpserve::cuda {

class LibraryGemm final : public Step {
 public:
  static constexpr int kMostAlgorithms = 8;  // worth measuring at load

  // One for each algorithm that the library's heuristics name for `rows` rows, the likeliest first,
  // at most `most`; may be none. Every run computes all the rows. `data` are of any layer of the
  // kind, and are not kept.
  static absl::StatusOr<std::vector<std::shared_ptr<const LibraryGemm>>> Make(
      const LayerPlan& layer, const LayerData& data, int64_t rows,
      std::shared_ptr<const CublasLt> library, int most = kMostAlgorithms);

  absl::StatusOr<std::unique_ptr<BoundStep>> Bind(const Place& place) const override;

 private:
  LibraryGemm(std::shared_ptr<const CublasLt> library, int64_t rows,
              const cublasLtMatmulAlgo_t& algorithm)
      : library_(std::move(library)), rows_(rows), algorithm_(algorithm) {}

  const std::shared_ptr<const CublasLt> library_;
  const int64_t rows_;
  const cublasLtMatmulAlgo_t algorithm_;
};

// What y = x·wᵀ takes, in the layer's own epilogue: "cublaslt.0", "cublaslt.2.bias",
// "cublaslt.1+epilogue", by the heuristics' order.
std::string LibraryName(const LayerPlan& layer, size_t algorithm);

// Finishes the library's product, where LibraryEpilogueOf says that a pass does.
class LibraryPass final : public Step {
 public:
  // Null where nothing has to be finished.
  static absl::StatusOr<std::shared_ptr<const Step>> Make(const LayerPlan& layer, Kernels& kernels);

  absl::StatusOr<std::unique_ptr<BoundStep>> Bind(const Place& place) const override;

 private:
  explicit LibraryPass(SharedKernel kernel) : kernel_(std::move(kernel)) {}

  const SharedKernel kernel_;
};

}  // namespace mlpserve::cuda
