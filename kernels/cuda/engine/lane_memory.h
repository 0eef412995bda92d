// The memory of one batch in flight: the buffers that a plan names (kernels/cuda/plan/buffers.h).
// Owned by a lane, or by whoever times kernels. Move-only; all that it allocates begins as zeros.
#pragma once

#include <array>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/plan/buffers.h"

namespace mlpserve::cuda {

class LaneMemory {
 public:
  LaneMemory() = default;
  // Errors: RESOURCE_EXHAUSTED, out of memory.
  static absl::StatusOr<LaneMemory> Allocate(const BufferBytes& bytes);

  // Allocates anew what is smaller than that. Nothing may be bound to it yet.
  absl::Status Grow(const BufferBytes& bytes);
  // Uses memory that is the caller's as a buffer.
  void Borrow(Buffer buffer, void* memory, size_t bytes);

  // Null where the buffer has no bytes.
  void* at(Buffer buffer) const { return buffers_[static_cast<size_t>(buffer)].data; }
  size_t size(Buffer buffer) const { return buffers_[static_cast<size_t>(buffer)].bytes; }
  void* at(const RowsPlan& rows) const { return at(rows.buffer); }
  template <typename T>
  T* as(Buffer buffer) const {
    return static_cast<T*>(at(buffer));
  }

 private:
  struct Stretch {
    DeviceMemory owned;  // none: borrowed
    void* data = nullptr;
    size_t bytes = 0;
  };
  std::array<Stretch, kBuffers> buffers_;
};

}  // namespace mlpserve::cuda
