// What one batch in flight needs of a device: a stream, activations, scratch memory, and for each
// bucket the block's steps bound to them, once to be launched one by one and once as a graph. Lanes
// of one device share its DeviceBlock.
//
// A batch is copied in, computed and copied out in the order of the stream. The copies are of its
// own rows. What computes is the bucket's graph where the plan pads rows (BlockPlan::PadsRows),
// else the steps themselves, told the batch's own number of rows: so no launch waits for a graph to
// be changed, and nothing is allocated or compiled after Make. The graph of few bytes moves them
// too (BlockPlan::MovesRowsByKernels), and is all that such a batch launches.
//
// Threads: one at a time for each lane; lanes are independent of each other.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/device_block.h"
#include "kernels/cuda/engine/host_rows_transfer.h"
#include "kernels/cuda/engine/lane_memory.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

// How long a run's three parts took on the device. Where the graph moves the rows, it is all
// compute.
struct RunTimes {
  std::chrono::nanoseconds copy_in{};
  std::chrono::nanoseconds compute{};
  std::chrono::nanoseconds copy_out{};
};

// How batches are launched. Graphs are the service's choice; without, for comparison.
enum class Launching : uint8_t { kGraphs, kStepByStep };

class Lane {
 public:
  // Allocates, binds, warms and captures. Errors: RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE,
  // the device is lost.
  static absl::StatusOr<std::unique_ptr<Lane>> Make(std::shared_ptr<const DeviceBlock> block,
                                                    Launching launching = Launching::kGraphs);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Puts a batch on the stream and returns. `input` is [rows, input features], `output` [rows,
  // output features], in the wire's formats, on the host and page-locked; both begin at a multiple
  // of 16 bytes. 1 <= rows <= max_rows. The batch before it has ended. Batch statistics are over
  // all the rows.
  absl::Status Start(const std::byte* input, std::byte* output, int64_t rows);
  // Of the batch that was started last: whether `input` has been read, whether `output` is
  // complete. Neither waits. Errors: UNAVAILABLE, the device is lost.
  absl::StatusOr<bool> InputRead() const { return marks_[graph_moved_rows_ ? 3 : 1].Happened(); }
  absl::StatusOr<bool> Done() const { return marks_[3].Happened(); }
  // How long its parts took, once it is done.
  absl::StatusOr<RunTimes> Times() const;

  // When it began, had been copied in, was computed and was copied out, since an event that was
  // recorded before it.
  absl::StatusOr<std::array<std::chrono::nanoseconds, 4>> MarksSince(const Event& begin) const;

  // All of that: starts a batch and waits for it.
  absl::StatusOr<RunTimes> Run(const std::byte* input, std::byte* output, int64_t rows);

  const DeviceBlock& block() const { return *block_; }
  const Stream& stream() const { return stream_; }
  // What the device's free memory fell by while the graphs were made; what others allocated
  // meanwhile is in it.
  int64_t graph_bytes() const { return graph_bytes_; }

 private:
  struct Bucket {
    std::vector<std::unique_ptr<BoundStep>> steps;
    int64_t rows = 0;            // that the steps are set to; 0: to none yet
    std::optional<Graph> graph;  // of the bucket's rows; nothing: launched step by step
    bool graph_moves_rows = false;
  };

  Lane(std::shared_ptr<const DeviceBlock> block, Launching launching)
      : block_(std::move(block)), launching_(launching) {}
  absl::Status Prepare();
  absl::Status CaptureGraphs();
  absl::Status Enqueue(const std::byte* input, std::byte* output, int64_t rows);
  // Of marks_, for the batch that was started last: within a graph that moves rows nobody sees when
  // they had been copied in and computed.
  const Event& Mark(size_t i) const { return marks_[!graph_moved_rows_ ? i : i < 2 ? 0 : 3]; }
  absl::Status LaunchForGraph(Bucket& bucket);
  absl::Status LaunchSteps(Bucket& bucket, int64_t rows);

  const std::shared_ptr<const DeviceBlock> block_;
  const Launching launching_;
  LaneMemory memory_;
  Stream stream_;
  std::optional<HostRowsTransfer> transfer_;  // nothing: no graph moves rows
  std::array<Event, 4> marks_;                // begin, copied in, computed, copied out
  bool graph_moved_rows_ = false;             // of the batch that was started last
  std::vector<Bucket> buckets_;
  int64_t graph_bytes_ = 0;
};

struct LanesOptions {
  PlanOptions plan;
  DeviceBlockOptions device;
  int lanes = 1;
  Launching launching = Launching::kGraphs;
};

// Plans a block, loads it and makes its lanes; at least one. Where there is no room for split
// weights (LayerPlan::is_split), FP32's own products are used instead.
absl::StatusOr<std::vector<std::unique_ptr<Lane>>> LoadLanes(const BlockSpec& block,
                                                             const LanesOptions& options,
                                                             KernelStore& store);

}  // namespace mlpserve::cuda
