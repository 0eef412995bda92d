// Moves the rows of small batches between the host's page-locked memory and a lane's buffers, by
// kernels that a graph holds beside those of the layers (host_rows.cuh). A graph is captured once;
// which rows it moves is told to it before each launch.
//
// Threads: one at a time, like the lane that it belongs to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/device/rows/host_rows_args.cuh"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/lane_memory.h"
#include "kernels/cuda/plan/block_plan.h"

namespace mlpserve::cuda {

// Of HostRowsTexts; both null: the plan moves no rows by kernels.
struct HostRowsKernels {
  SharedKernel fetch, send;
};

class HostRowsTransfer {
 public:
  // Errors: RESOURCE_EXHAUSTED, out of memory.
  static absl::StatusOr<HostRowsTransfer> Make(HostRowsKernels kernels, const BlockPlan& plan,
                                               const LaneMemory& memory);

  // What the next launches move: page-locked, and no other while they run.
  void SetBatch(const std::byte* input, std::byte* output, int64_t input_bytes,
                int64_t output_bytes);
  // Put on the stream, or into the graph that is being captured, what fetches at most so many bytes
  // of input, and what sends so many of output.
  absl::Status LaunchFetch(const Stream& stream, int64_t most_bytes) const;
  absl::Status LaunchSend(const Stream& stream, int64_t most_bytes) const;

 private:
  HostRowsTransfer(HostRowsKernels kernels, PinnedMemory memory, bool programmatic)
      : kernels_(std::move(kernels)),
        memory_(std::move(memory)),
        batch_(new (memory_.get()) HostRows),
        programmatic_(programmatic) {}
  absl::Status Launch(const LoadedKernel& kernel, const Stream& stream, int64_t most_bytes,
                      bool programmatic) const;

  HostRowsKernels kernels_;
  PinnedMemory memory_;
  HostRows* batch_ = nullptr;  // in memory_
  HostRowsArgs args_;
  bool programmatic_;
};

}  // namespace mlpserve::cuda
