// Memory of a client on a GPU, as a region of shared memory: what is read is copied from the device
// into the slot, what is written to the device, on a stream of the region's own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/device.h"
#include "server/shared_memory/region.h"

namespace mlpserve {

// `handle`: the bytes of a cudaIpcMemHandle_t of memory on `device`, one of `devices`. Errors:
// INVALID_ARGUMENT, another device, no such handle, fewer bytes behind it; UNAVAILABLE, the device
// is lost.
absl::StatusOr<std::unique_ptr<SharedRegion>> OpenCudaIpcRegion(
    const std::vector<cuda::Device>& devices, const std::string& handle, int64_t device,
    uint64_t bytes);

}  // namespace mlpserve
