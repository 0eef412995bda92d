// The ways in which a kind of layer may be computed, as steps: a kernel of ours or the library's
// with the passes before and after it.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/library_gemm.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/plan/buffers.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/occupancy.h"

namespace mlpserve::cuda {

// A kernel that cannot be had is left out; a device that is lost or full ends everything.
inline bool IsFatal(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

struct Candidate {
  std::string name;
  std::shared_ptr<const Step> step;
  BufferBytes scratch;    // what it needs of a lane
  CtaResources cta = {};  // what a CTA takes of an SM; no threads: the library's, not known
  int local_bytes = 0;    // of each thread: what does not fit into registers
  bool reads_split = false;
};

class CandidateMaker {
 public:
  // `layer` stands for its kind; it and the kernels must outlive the maker.
  CandidateMaker(const LayerPlan& layer, Kernels& kernels) : layer_(layer), kernels_(kernels) {}

  // For batches of up to `rows` rows. Errors: FusedGemm::Make's.
  absl::StatusOr<Candidate> Ours(const KernelConfig& config, int64_t rows);
  // The library's, one for each of its algorithms, the likeliest first; may be none.
  absl::StatusOr<std::vector<Candidate>> Library(const LayerData& data, int64_t rows,
                                                 const std::shared_ptr<const CublasLt>& library,
                                                 int most = LibraryGemm::kMostAlgorithms);

 private:
  using Steps = std::vector<std::shared_ptr<const Step>>;

  absl::Status AddNorms(Steps& steps);
  absl::StatusOr<std::shared_ptr<const Step>> Split();

  const LayerPlan& layer_;
  Kernels& kernels_;
  // Made when first asked for, and shared by all candidates:
  std::optional<Steps> norms_;
  std::shared_ptr<const Step> split_;
};

}  // namespace mlpserve::cuda
