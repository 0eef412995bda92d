// Which kernel computes a product at a bucket: ChooseConfigs proposes, a clock decides.
//
// The proposals, and the vendor's library where it is there, are timed in turn on the real weights.
// The first proposal, the plainest one, is left only for a gain of kLeastGain. What was measured is
// kept, in memory for further layers of the same kind and on disk for the next load.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernel_choice.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/engine/tuning_record.h"
#include "kernels/cuda/plan/plan.h"

namespace mlpserve::cuda {

inline constexpr double kLeastGain = 0.02;

struct ChosenKernel {
  PlanRow plan;
  std::shared_ptr<const Step> step;
  std::chrono::nanoseconds measuring{};  // spent on timing candidates
};

class LayerChooser {
 public:
  struct Options {
    KernelChoice choice = KernelChoice::kMeasured;
    bool batch_invariant = false;
    std::string tuning_directory;  // empty: nothing is kept on disk
  };

  // `library` may be null.
  LayerChooser(Options options, KernelStore& store, std::shared_ptr<const CublasLt> library)
      : options_(std::move(options)), store_(store), library_(std::move(library)) {}

  // For batches of up to `rows` rows. The product's memory is written to.
  absl::StatusOr<ChosenKernel> Choose(const Product& product, int64_t rows, const Stream& stream);
  // Compiles what Choose will ask for, on many threads.
  void CompileAhead(const Product& product, const std::vector<int64_t>& buckets);

 private:
  struct Candidate;

  bool may_use_library() const;
  bool Wants(const KernelConfig& config) const;
  std::vector<KernelConfig> Configs(const Product& product, int64_t rows) const;
  std::string RecordKey(const Product& product) const;
  TuningRecord& RecordOf(const Product& product);
  absl::StatusOr<std::vector<Candidate>> Candidates(const Product& product, int64_t rows) const;
  absl::StatusOr<Candidate> ByName(const Product& product, int64_t rows,
                                   const std::string& name) const;

  const Options options_;
  KernelStore& store_;
  const std::shared_ptr<const CublasLt> library_;
  std::map<std::string, TuningRecord> records_;  // by key
};

}  // namespace mlpserve::cuda
