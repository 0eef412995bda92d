#include "kernels/cuda/engine/lane.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

absl::StatusOr<std::chrono::nanoseconds> TimeBetween(const Event& begin, const Event& end) {
  MLPSERVE_ASSIGN_OR_RETURN(const float ms, MillisecondsBetween(begin, end));
  return std::chrono::nanoseconds(static_cast<int64_t>(1e6 * ms));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Lane>> Lane::Make(std::shared_ptr<const DeviceBlock> block,
                                                 Launching launching) {
  MLPSERVE_RETURN_IF_ERROR(Use(block->device()));
  std::unique_ptr<Lane> lane(new Lane(std::move(block), launching));
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
  if (block_->host_rows_kernels().fetch != nullptr) {
    MLPSERVE_ASSIGN_OR_RETURN(
        transfer_, HostRowsTransfer::Make(block_->host_rows_kernels(), block_->plan(), memory_));
    MLPSERVE_RETURN_IF_ERROR(transfer_->LaunchFetch(stream_, 1));
    MLPSERVE_RETURN_IF_ERROR(transfer_->LaunchSend(stream_, 1));
  }
  const std::vector<int64_t>& rows = block_->plan().buckets;
  for (size_t i = 0; i < rows.size(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(auto steps, block_->Bind(i, memory_));
    buckets_.push_back({.steps = std::move(steps)});
    // The first launch of a kernel loads it, which no capture may do.
    MLPSERVE_RETURN_IF_ERROR(LaunchSteps(buckets_.back(), rows[i]));
  }
  if (launching_ == Launching::kGraphs) MLPSERVE_RETURN_IF_ERROR(CaptureGraphs());
  return stream_.Synchronize();
}

absl::Status Lane::CaptureGraphs() {
  MLPSERVE_ASSIGN_OR_RETURN(const int64_t before, FreeDeviceBytes());
  for (Bucket& bucket : buckets_) {
    bucket.graph_moves_rows = block_->plan().MovesRowsByKernels(bucket.rows);
    MLPSERVE_ASSIGN_OR_RETURN(bucket.graph,
                              Graph::Capture(stream_, [&] { return LaunchForGraph(bucket); }));
    MLPSERVE_RETURN_IF_ERROR(bucket.graph->Upload(stream_));
  }
  MLPSERVE_ASSIGN_OR_RETURN(const int64_t after, FreeDeviceBytes());
  graph_bytes_ = std::max<int64_t>(0, before - after);
  return absl::OkStatus();
}

absl::Status Lane::LaunchForGraph(Bucket& bucket) {
  if (!bucket.graph_moves_rows) return LaunchSteps(bucket, bucket.rows);
  const BlockPlan& plan = block_->plan();
  MLPSERVE_RETURN_IF_ERROR(transfer_->LaunchFetch(stream_, plan.wire_input.bytes(bucket.rows)));
  MLPSERVE_RETURN_IF_ERROR(LaunchSteps(bucket, bucket.rows));
  return transfer_->LaunchSend(stream_, plan.output.bytes(bucket.rows));
}

absl::Status Lane::LaunchSteps(Bucket& bucket, int64_t rows) {
  if (bucket.rows != rows) {
    for (const auto& step : bucket.steps) step->SetRows(static_cast<int32_t>(rows));
    bucket.rows = rows;
  }
  for (const auto& step : bucket.steps) MLPSERVE_RETURN_IF_ERROR(step->Launch(stream_));
  return absl::OkStatus();
}

// Whoever is told that a batch failed may use its memory again.
absl::Status Lane::Start(const std::byte* input, std::byte* output, int64_t rows) {
  absl::Status status = Enqueue(input, output, rows);
  if (!status.ok()) (void)stream_.Synchronize();
  return status;
}

absl::Status Lane::Enqueue(const std::byte* input, std::byte* output, int64_t rows) {
  MLPSERVE_RETURN_IF_ERROR(Use(block_->device()));
  const BlockPlan& plan = block_->plan();
  Bucket& bucket = buckets_[plan.BucketOf(rows)];
  const bool by_graph = bucket.graph && plan.PadsRows(rows);
  graph_moved_rows_ = by_graph && bucket.graph_moves_rows;
  MLPSERVE_RETURN_IF_ERROR(marks_[0].Record(stream_));
  if (graph_moved_rows_) {
    transfer_->SetBatch(input, output, plan.wire_input.bytes(rows), plan.output.bytes(rows));
    MLPSERVE_RETURN_IF_ERROR(bucket.graph->Launch(stream_));
    return marks_[3].Record(stream_);
  }
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(memory_.at(plan.wire_input), input,
                                                static_cast<size_t>(plan.wire_input.bytes(rows)),
                                                cudaMemcpyHostToDevice, stream_.get()));
  MLPSERVE_RETURN_IF_ERROR(marks_[1].Record(stream_));
  MLPSERVE_RETURN_IF_ERROR(by_graph ? bucket.graph->Launch(stream_) : LaunchSteps(bucket, rows));
  MLPSERVE_RETURN_IF_ERROR(marks_[2].Record(stream_));
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(output, memory_.at(plan.output),
                                                static_cast<size_t>(plan.output.bytes(rows)),
                                                cudaMemcpyDeviceToHost, stream_.get()));
  return marks_[3].Record(stream_);
}

absl::StatusOr<RunTimes> Lane::Times() const {
  std::array<std::chrono::nanoseconds, 3> took{};
  for (size_t i = 0; i < took.size(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(took[i], TimeBetween(Mark(i), Mark(i + 1)));
  }
  return RunTimes{.copy_in = took[0], .compute = took[1], .copy_out = took[2]};
}

absl::StatusOr<std::array<std::chrono::nanoseconds, 4>> Lane::MarksSince(const Event& begin) const {
  std::array<std::chrono::nanoseconds, 4> since{};
  for (size_t i = 0; i < since.size(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(since[i], TimeBetween(begin, Mark(i)));
  }
  return since;
}

absl::StatusOr<RunTimes> Lane::Run(const std::byte* input, std::byte* output, int64_t rows) {
  MLPSERVE_RETURN_IF_ERROR(Start(input, output, rows));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  return Times();
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
    MLPSERVE_ASSIGN_OR_RETURN(std::unique_ptr<Lane> lane, Lane::Make(loaded, options.launching));
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
