#include "kernels/cuda/engine/host_rows_transfer.h"

#include <utility>

#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

absl::StatusOr<HostRowsTransfer> HostRowsTransfer::Make(HostRowsKernels kernels,
                                                        const BlockPlan& plan,
                                                        const LaneMemory& memory) {
  MLPSERVE_ASSIGN_OR_RETURN(PinnedMemory batch, PinnedMemory::Allocate(sizeof(HostRows)));
  HostRowsTransfer transfer(std::move(kernels), std::move(batch),
                            plan.limits.has_programmatic_launch());
  transfer.args_ = {.batch = transfer.batch_,
                    .input = memory.at(plan.wire_input),
                    .output = memory.at(plan.output)};
  return transfer;
}

void HostRowsTransfer::SetBatch(const std::byte* input, std::byte* output, int64_t input_bytes,
                                int64_t output_bytes) {
  *batch_ = {
      .input = input, .output = output, .input_bytes = input_bytes, .output_bytes = output_bytes};
}

absl::Status HostRowsTransfer::Launch(const LoadedKernel& kernel, const Stream& stream,
                                      int64_t most_bytes, bool programmatic) const {
  HostRowsArgs args = args_;
  void* arguments[] = {&args};
  return kernel.Launch({.grid_x = CeilDivide(most_bytes, kHostRowsBytesOfCta),
                        .threads = kHostRowsThreads,
                        .programmatic = programmatic},
                       arguments, stream);
}

absl::Status HostRowsTransfer::LaunchFetch(const Stream& stream, int64_t most_bytes) const {
  return Launch(*kernels_.fetch, stream, most_bytes, false);
}

absl::Status HostRowsTransfer::LaunchSend(const Stream& stream, int64_t most_bytes) const {
  return Launch(*kernels_.send, stream, most_bytes, programmatic_);
}

}  // namespace mlpserve::cuda
