#include "kernels/cuda/engine/lane.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

absl::StatusOr<std::unique_ptr<Lane>> Lane::Make(std::shared_ptr<const DeviceBlock> block) {
  MLPSERVE_RETURN_IF_ERROR(Use(block->device()));
  std::unique_ptr<Lane> lane(new Lane(std::move(block)));
  MLPSERVE_RETURN_IF_ERROR(lane->Prepare());
  return lane;
}

// Nothing may be freed while it runs.
Lane::~Lane() {
  if (stream_.get() != nullptr) (void)stream_.Synchronize();
}

absl::Status Lane::Prepare() {
  MLPSERVE_ASSIGN_OR_RETURN(memory_, LaneMemory::Allocate(block_->lane()));
  MLPSERVE_ASSIGN_OR_RETURN(stream_, Stream::Create());
  for (Event& mark : marks_) {
    MLPSERVE_ASSIGN_OR_RETURN(mark, Event::Create());
  }
  const std::vector<int64_t>& rows = block_->plan().buckets;
  for (size_t i = 0; i < rows.size(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(auto steps, block_->Bind(i, memory_));
    buckets_.push_back({.steps = std::move(steps)});
    // The first launch of a kernel loads it.
    MLPSERVE_RETURN_IF_ERROR(Launch(rows[i]));
  }
  return stream_.Synchronize();
}

absl::Status Lane::Launch(int64_t rows) {
  Bucket& bucket = buckets_[block_->plan().BucketOf(rows)];
  if (bucket.rows != rows) {
    for (const auto& step : bucket.steps) step->SetRows(static_cast<int32_t>(rows));
    bucket.rows = rows;
  }
  for (const auto& step : bucket.steps) MLPSERVE_RETURN_IF_ERROR(step->Launch(stream_));
  return absl::OkStatus();
}

absl::StatusOr<RunTimes> Lane::Run(const std::byte* input, std::byte* output, int64_t rows) {
  MLPSERVE_RETURN_IF_ERROR(Use(block_->device()));
  const BlockPlan& plan = block_->plan();
  MLPSERVE_RETURN_IF_ERROR(marks_[0].Record(stream_));
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(memory_.at(plan.wire_input), input,
                                                static_cast<size_t>(plan.wire_input.bytes(rows)),
                                                cudaMemcpyHostToDevice, stream_.get()));
  MLPSERVE_RETURN_IF_ERROR(marks_[1].Record(stream_));
  MLPSERVE_RETURN_IF_ERROR(Launch(rows));
  MLPSERVE_RETURN_IF_ERROR(marks_[2].Record(stream_));
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(output, memory_.at(plan.output),
                                                static_cast<size_t>(plan.output.bytes(rows)),
                                                cudaMemcpyDeviceToHost, stream_.get()));
  MLPSERVE_RETURN_IF_ERROR(marks_[3].Record(stream_));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  std::array<std::chrono::nanoseconds, 3> took{};
  for (size_t i = 0; i < took.size(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(const float ms, MillisecondsBetween(marks_[i], marks_[i + 1]));
    took[i] = std::chrono::nanoseconds(static_cast<int64_t>(1e6 * ms));
  }
  return RunTimes{.copy_in = took[0], .compute = took[1], .copy_out = took[2]};
}

namespace {

absl::StatusOr<std::vector<std::unique_ptr<Lane>>> LoadPlanned(const BlockSpec& block,
                                                               BlockPlan plan,
                                                               const LanesOptions& options,
                                                               KernelStore& store) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::shared_ptr<const DeviceBlock> loaded,
                            DeviceBlock::Load(block, std::move(plan), options.device, store));
  std::vector<std::unique_ptr<Lane>> lanes;
  for (int i = 0; i < options.lanes; ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(std::unique_ptr<Lane> lane, Lane::Make(loaded));
    lanes.push_back(std::move(lane));
  }
  return lanes;
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Lane>>> LoadLanes(const BlockSpec& block,
                                                             const LanesOptions& options,
                                                             KernelStore& store) {
  PlanOptions plan_options = options.plan;
  BlockPlan plan = PlanBlock(block, store.limits(), plan_options);
  const bool is_split = std::ranges::any_of(plan.layers, &LayerPlan::is_split);
  auto lanes = LoadPlanned(block, std::move(plan), options, store);
  if (!is_split || !absl::IsResourceExhausted(lanes.status())) return lanes;
  plan_options.may_split = false;
  return LoadPlanned(block, PlanBlock(block, store.limits(), plan_options), options, store);
}

}  // namespace mlpserve::cuda
