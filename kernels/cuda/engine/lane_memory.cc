#include "kernels/cuda/engine/lane_memory.h"

#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

absl::StatusOr<LaneMemory> LaneMemory::Allocate(const BufferBytes& bytes) {
  LaneMemory memory;
  MLPSERVE_RETURN_IF_ERROR(memory.Grow(bytes));
  return memory;
}

// One allocation for each buffer, so that compute-sanitizer sees what runs over the end of one.
absl::Status LaneMemory::Grow(const BufferBytes& bytes) {
  for (size_t i = 0; i < kBuffers; ++i) {
    const auto size = static_cast<size_t>(bytes[static_cast<Buffer>(i)]);
    Stretch& stretch = buffers_[i];
    if (size <= stretch.bytes) continue;
    stretch = {};
    MLPSERVE_ASSIGN_OR_RETURN(stretch.owned, DeviceMemory::Allocate(size));
    stretch.data = stretch.owned.get();
    stretch.bytes = size;
  }
  return absl::OkStatus();
}

void LaneMemory::Borrow(Buffer buffer, void* memory, size_t bytes) {
  Stretch& stretch = buffers_[static_cast<size_t>(buffer)];
  stretch = {};
  stretch.data = memory;
  stretch.bytes = bytes;
}

}  // namespace mlpserve::cuda
