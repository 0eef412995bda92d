#include "kernels/cuda/engine/host_rows_transfer.h"

#include <new>
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
  transfer.args_ = {.batch = new (transfer.batch_.get()) HostRows,
                    .input = memory.at(plan.wire_input),
                    .output = memory.at(plan.output)};
  return transfer;
}

void HostRowsTransfer::SetBatch(const std::byte* input, std::byte* output, int64_t input_bytes,
                                int64_t output_bytes) {
  new (batch_.get()) HostRows{
      .input = input, .output = output, .input_bytes = input_bytes, .output_bytes = output_bytes};
}

LaunchShape HostRowsTransfer::ShapeFor(int64_t most_bytes) const {
  return {.grid_x = CeilDivide(most_bytes, kHostRowsBytesOfCta), .threads = kHostRowsThreads};
}

absl::Status HostRowsTransfer::LaunchFetch(const Stream& stream, int64_t most_bytes) const {
  HostRowsArgs args = args_;
  void* arguments[] = {&args};
  return kernels_.fetch->Launch(ShapeFor(most_bytes), arguments, stream);
}

absl::Status HostRowsTransfer::LaunchSend(const Stream& stream, int64_t most_bytes) const {
  HostRowsArgs args = args_;
  void* arguments[] = {&args};
  LaunchShape shape = ShapeFor(most_bytes);
  shape.programmatic = programmatic_;
  return kernels_.send->Launch(shape, arguments, stream);
}

}  // namespace mlpserve::cuda
