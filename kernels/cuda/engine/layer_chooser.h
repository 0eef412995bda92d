// Which kernel computes a kind of layer at a bucket: the plan proposes, a clock decides.
//
// The plan's candidates, and the vendor's library where it is there, are timed in turn
// (measurer.h). The first candidate, the plainest one, is left only for a gain of kLeastGain. What
// was measured is kept, in memory for further layers of the same kind and on disk for the next
// load. A load that may not measure takes what was measured before, and else the candidate with the
// best estimate.
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
#include "kernels/cuda/engine/candidates.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/measurer.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/engine/tuning_record.h"
#include "kernels/cuda/plan/buffers.h"
#include "kernels/cuda/plan/kernel_table.h"
#include "kernels/cuda/plan/layer_plan.h"

namespace mlpserve::cuda {

inline constexpr double kLeastGain = 0.02;

struct ChosenKernel {
  KernelRow row;  // without the layer's name
  std::shared_ptr<const Step> step;
  BufferBytes scratch;
};

class LayerChooser {
 public:
  struct Options {
    KernelChoice choice = KernelChoice::kMeasured;  // as the plans were made with
    bool may_measure = true;
    std::string tuning_directory;             // empty: nothing is kept on disk
    std::shared_ptr<const CublasLt> library;  // null: not a candidate
    BufferBytes lane;                         // BlockPlan::lane
  };

  // The store, the stream and the layers must outlive it.
  LayerChooser(Options options, KernelStore& store, const Stream& stream)
      : options_(std::move(options)), store_(store), measurer_(options_.lane, stream) {}

  // Adds the sources of the products that Choose will ask for, so that they can be compiled ahead.
  absl::Status AddTexts(const LayerPlan& layer, std::vector<KernelText>& texts);
  // For batches of up to `bucket.rows` rows; the bucket is one of the layer's.
  absl::StatusOr<ChosenKernel> Choose(const LayerPlan& layer, const LayerData& data,
                                      const BucketPlan& bucket);

  std::chrono::nanoseconds measuring() const { return measuring_; }  // spent on it so far

 private:
  struct Kind {
    explicit Kind(const LayerPlan& layer, KernelStore& store) : maker(layer, store) {}

    CandidateMaker maker;
    std::map<int64_t, TuningRecord> records;  // by rows
    std::map<int64_t, ChosenKernel> chosen;
  };

  bool measures() const { return options_.choice == KernelChoice::kMeasured; }
  Kind& KindFor(const LayerPlan& layer);
  absl::StatusOr<TuningRecord*> RecordOf(const LayerPlan& layer, const BucketPlan& bucket);
  absl::StatusOr<ChosenKernel> ChooseNew(const LayerPlan& layer, const LayerData& data,
                                         const BucketPlan& bucket);
  absl::StatusOr<Candidate> ByName(const LayerPlan& layer, const LayerData& data,
                                   const BucketPlan& bucket, const std::string& name);
  absl::StatusOr<Candidate> FirstThatCanBeMade(const LayerPlan& layer,
                                               const std::vector<Proposal>& proposals,
                                               int64_t rows);
  absl::StatusOr<Candidate> Unmeasured(const LayerPlan& layer, const LayerData& data,
                                       const BucketPlan& bucket);
  absl::StatusOr<std::vector<Candidate>> All(const LayerPlan& layer, const LayerData& data,
                                             const BucketPlan& bucket);
  absl::StatusOr<ChosenKernel> Measure(const LayerPlan& layer, const LayerData& data,
                                       const BucketPlan& bucket, TuningRecord& record);
  ChosenKernel Finish(const LayerPlan& layer, const BucketPlan& bucket, const Candidate& candidate,
                      const std::vector<Measurement>& measured) const;

  const Options options_;
  KernelStore& store_;
  Measurer measurer_;
  std::map<std::string, Kind> kinds_;  // by KindOf
  std::chrono::nanoseconds measuring_{};
};

// The candidates of a bucket in the order in which an unmeasured load tries them: the plan's own
// for tests, else the best estimate first.
std::vector<Proposal> UnmeasuredOrder(const LayerPlan& layer, const BucketPlan& bucket,
                                      KernelChoice choice, const DeviceLimits& limits);

}  // namespace mlpserve::cuda
