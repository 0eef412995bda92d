// The batch that a lane of a GPU runs: started by the thread that has it, watched and ended by
// CompletionWatch. One object for each lane, used again for each of its batches.
//
// Threads: Start by any, while no batch of the lane is in flight; the rest by the watch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/engine/lane.h"
#include "server/engine/completion_watch.h"
#include "server/vocabulary/batch.h"

namespace mlpserve {

class CudaLaneBatch final : private CompletionWatch::Batch {
 public:
  CudaLaneBatch(std::unique_ptr<cuda::Lane> lane, CompletionWatch& watch);

  // `events` are told what becomes of it, within Start only if it cannot be started.
  void Start(const BatchRun& run, const std::byte* input, std::byte* output, BatchEvents& events);

  const cuda::Lane& lane() const { return *lane_; }

 private:
  enum class Seen : uint8_t { kNothing, kInputRead, kNearlyDone, kEnd };

  // How long the last batch of a bucket took; zero: there was none.
  struct Took {
    Duration until_computed{};  // from its start
    Duration copy_in{};
  };

  bool Look(TimePoint now) override;
  bool Tell() override;
  TimePoint started() const override { return started_; }
  Seen See(TimePoint now);
  void End();
  TimePoint WhenNearlyDone(int64_t rows) const;

  const std::unique_ptr<cuda::Lane> lane_;
  CompletionWatch& watch_;
  std::vector<Took> took_;  // by bucket

  BatchRun run_;
  BatchEvents* events_ = nullptr;
  TimePoint started_;
  TimePoint nearly_done_;     // when to say so; max: not at all, or said
  bool reads_early_ = false;  // it is yet to be said that the input was read
  Seen seen_ = Seen::kNothing;
  absl::Status status_;
};

}  // namespace mlpserve
