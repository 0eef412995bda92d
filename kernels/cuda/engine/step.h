// A step is one launch, or a few that belong together, of a kind of layer: kernels and what is
// known of their launches. It holds no memory, so that all layers of the kind and all lanes share
// it. Bound to a layer's numbers and a lane's buffers it can be launched.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/lane_memory.h"
#include "kernels/cuda/engine/layer_data.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

// One at a time, like the lane that it belongs to.
class BoundStep {
 public:
  virtual ~BoundStep() = default;

  // Works out what depends on the number of rows: before the first Launch, and again only when the
  // number changes. 1 <= m <= the rows that the step was made for.
  virtual void SetRows(int32_t m) = 0;
  // Puts the work for rows [0, m) on the stream. Nothing is allocated, nothing waits. Errors are
  // those of the launch itself.
  virtual absl::Status Launch(const Stream& stream) = 0;
};

// Where a layer's kernels find what they read and write. What it refers to must outlive the steps
// that are bound to it.
struct Place {
  const LayerPlan& layer;
  const LayerData& data;
  const LaneMemory& memory;
};

class Step {
 public:
  virtual ~Step() = default;

  // `place.layer` is of the kind (KindOf) that the step was made for.
  virtual absl::StatusOr<std::unique_ptr<BoundStep>> Bind(const Place& place) const = 0;
};

// Several steps, one after the other.
class StepSequence final : public Step {
 public:
  explicit StepSequence(std::vector<std::shared_ptr<const Step>> steps)
      : steps_(std::move(steps)) {}

  absl::StatusOr<std::unique_ptr<BoundStep>> Bind(const Place& place) const override {
    auto bound = std::make_unique<Bound>();
    for (const auto& step : steps_) {
      MLPSERVE_ASSIGN_OR_RETURN(auto one, step->Bind(place));
      bound->steps.push_back(std::move(one));
    }
    return bound;
  }

 private:
  struct Bound final : BoundStep {
    void SetRows(int32_t m) override {
      for (const auto& step : steps) step->SetRows(m);
    }
    absl::Status Launch(const Stream& stream) override {
      for (const auto& step : steps) MLPSERVE_RETURN_IF_ERROR(step->Launch(stream));
      return absl::OkStatus();
    }
    std::vector<std::unique_ptr<BoundStep>> steps;
  };

  const std::vector<std::shared_ptr<const Step>> steps_;
};

}  // namespace mlpserve::cuda
