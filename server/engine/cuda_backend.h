// The backend that computes on an NVIDIA GPU: kernels/cuda/engine behind the seam of backend.h.
//
// A batch is copied in, computed and copied out on its lane's stream. Run starts it and returns;
// its events come on a thread of the backend's (completion_watch.h). Lanes share the block's
// weights and kernels; each has activations and graphs of its own, so that the copies of one batch
// overlap the arithmetic of another. Slots and outputs are page-locked and allocated at load, as is
// everything on the device. Not here yet: several devices; the first usable one is used.
//
// Threads: as backend.h says. The backend must outlive its blocks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/plan/kernel_choice.h"
#include "server/engine/backend.h"

namespace mlpserve {

struct CudaBackendOptions {
  // Compiled kernels and measurements are kept here; empty: everything is made anew at each load.
  std::string cache_directory;
  cuda::KernelChoice kernels = cuda::KernelChoice::kMeasured;
  int lanes = 2;  // of each block, at least one: batches that run at a time
};

struct OpenedCudaBackend {
  std::unique_ptr<Backend> backend;
  std::vector<cuda::Device> devices;  // that it computes on
  absl::Status library;  // not OK: there is no cuBLASLt, and so one candidate less for each layer
};

// Errors: UNAVAILABLE, no usable GPU or no driver; NOT_FOUND, no NVRTC for it; FAILED_PRECONDITION,
// the cache directory cannot be used.
absl::StatusOr<OpenedCudaBackend> OpenCudaBackend(const CudaBackendOptions& options);

}  // namespace mlpserve
