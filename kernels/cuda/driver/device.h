// The GPUs that can be used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/tiles/device_limits.h"

namespace mlpserve::cuda {

struct Device {
  int ordinal = 0;
  std::string name;
  std::string pci_bus_id;  // "0000:1b:00.0"
  int driver_version = 0;  // of CUDA, as the driver counts: 13000
  int64_t memory_bytes = 0;
  DeviceLimits limits;
};

inline constexpr int kLeastCapability = 80;  // mma.sync of BF16 and cp.async

// Those of compute capability 8.0 and above; at least one.
// Errors: UNAVAILABLE, in words, where there is none (no GPU, no driver, too old a one).
absl::StatusOr<std::vector<Device>> FindDevices();

// Makes a device the calling thread's.
absl::Status Use(const Device& device);

}  // namespace mlpserve::cuda
