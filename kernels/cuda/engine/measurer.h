// Times the candidates of layers as they run in the service: on rows of normally distributed
// numbers, since the card's power, and so its speed, depends on the data; and with weights that
// come from memory.
//
// Owns a lane's buffers of its own and copies of the weight that was measured last, all of it
// allocated when something is first measured and freed with the object.
//
// Threads: one, that the stream belongs to.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/candidates.h"
#include "kernels/cuda/engine/lane_memory.h"
#include "kernels/cuda/engine/layer_data.h"
#include "kernels/cuda/plan/buffers.h"
#include "kernels/cuda/plan/layer_plan.h"

namespace mlpserve::cuda {

class Measurer {
 public:
  // `lane`: of every buffer the most that a candidate needs. The stream must outlive it.
  Measurer(const BufferBytes& lane, const Stream& stream) : lane_(lane), stream_(stream) {}

  // TimeInTurn's microseconds of each for batches of m rows.
  // Errors: RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, the device is lost.
  absl::StatusOr<std::vector<double>> Time(const LayerPlan& layer, const LayerData& data,
                                           const std::vector<Candidate>& candidates, int32_t m);

 private:
  absl::Status CopyWeights(const LayerPlan& layer, const LayerData& data);

  const BufferBytes lane_;
  const Stream& stream_;
  std::optional<LaneMemory> memory_;
  std::vector<LayerData> copies_;  // the layer's own first
};

// Copies of a weight of so many bytes to take in turn, so that each launch reads it from memory.
int ColdCopies(int64_t weight_bytes);

// Fills the rows' buffer with numbers of N(0, 1).
absl::Status FillNormal(const RowsPlan& rows, const LaneMemory& memory);

}  // namespace mlpserve::cuda
