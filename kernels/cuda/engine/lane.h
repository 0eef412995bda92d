// What one batch in flight needs of a device: a stream, activations, scratch memory, and the
// block's steps bound to them for each bucket. Lanes of one device share its DeviceBlock.
//
// Threads: one at a time for each lane; lanes are independent of each other.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/device_block.h"
#include "kernels/cuda/engine/lane_memory.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

// How long a run's three parts took on the device.
struct RunTimes {
  std::chrono::nanoseconds copy_in{};
  std::chrono::nanoseconds compute{};
  std::chrono::nanoseconds copy_out{};
};

class Lane {
 public:
  // Allocates, binds and warms. Errors: RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, the device
  // is lost.
  static absl::StatusOr<std::unique_ptr<Lane>> Make(std::shared_ptr<const DeviceBlock> block);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // `input` is [rows, input features], `output` [rows, output features], in the wire's formats, on
  // the host and page-locked. 1 <= rows <= max_rows. Waits until the output is complete. Batch
  // statistics are over all the rows.
  absl::StatusOr<RunTimes> Run(const std::byte* input, std::byte* output, int64_t rows);

  const DeviceBlock& block() const { return *block_; }

 private:
  struct Bucket {
    std::vector<std::unique_ptr<BoundStep>> steps;
    int64_t rows = 0;  // that the steps are set to; 0: to none yet
  };

  explicit Lane(std::shared_ptr<const DeviceBlock> block) : block_(std::move(block)) {}
  absl::Status Prepare();
  absl::Status Launch(int64_t rows);

  const std::shared_ptr<const DeviceBlock> block_;
  LaneMemory memory_;
  Stream stream_;
  std::array<Event, 4> marks_;  // begin, copied in, computed, copied out
  std::vector<Bucket> buckets_;
};

struct LanesOptions {
  PlanOptions plan;
  DeviceBlockOptions device;
  int lanes = 1;
};

// Plans a block, loads it and makes its lanes; at least one. Where there is no room for split
// weights (LayerPlan::is_split), FP32's own products are used instead.
absl::StatusOr<std::vector<std::unique_ptr<Lane>>> LoadLanes(const BlockSpec& block,
                                                             const LanesOptions& options,
                                                             KernelStore& store);

}  // namespace mlpserve::cuda
