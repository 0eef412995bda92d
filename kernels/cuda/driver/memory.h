// Owners of memory on the device and of page-locked memory on the host. Move-only; the device is
// the calling thread's current one. Both begin as zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve::cuda {

struct FreeDevice {
  void operator()(void* memory) const;
};
struct FreePinned {
  void operator()(void* memory) const;
};

class DeviceMemory {
 public:
  DeviceMemory() = default;
  // At least one byte. Errors: RESOURCE_EXHAUSTED, with the size asked for and what is free.
  static absl::StatusOr<DeviceMemory> Allocate(size_t bytes);

  void* get() const { return memory_.get(); }
  size_t size() const { return size_; }

 private:
  DeviceMemory(void* memory, size_t size) : memory_(memory), size_(size) {}

  std::unique_ptr<void, FreeDevice> memory_;
  size_t size_ = 0;
};

class PinnedMemory {
 public:
  PinnedMemory() = default;
  static absl::StatusOr<PinnedMemory> Allocate(size_t bytes);

  std::byte* get() const { return static_cast<std::byte*>(memory_.get()); }
  size_t size() const { return size_; }

 private:
  PinnedMemory(void* memory, size_t size) : memory_(memory), size_(size) {}

  std::unique_ptr<void, FreePinned> memory_;
  size_t size_ = 0;
};

// Of the current device's memory, what nobody has at this moment.
absl::StatusOr<int64_t> FreeDeviceBytes();

// Copies from the host and waits.
absl::Status CopyToDevice(void* to, const void* from, size_t bytes);
// Copies from one place on the device to another and waits.
absl::Status CopyOnDevice(void* to, const void* from, size_t bytes);

}  // namespace mlpserve::cuda
