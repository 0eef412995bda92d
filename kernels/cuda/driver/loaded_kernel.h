// A compiled kernel on the device, ready to be launched. Shared by all that launch it.
// Threads: Launch from any.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/tiles/launch_shape.h"

namespace mlpserve::cuda {

class LoadedKernel {
 public:
  // `kernel_name` as extern "C" in the source. `shared_bytes`: the most dynamic shared memory that
  // a launch will ask for.
  static absl::StatusOr<LoadedKernel> Load(const CompiledKernel& compiled,
                                           const std::string& kernel_name, int shared_bytes);

  // For a kernel that runs by itself, and whose loads want L1 more than shared memory: it is loaded
  // with as much shared memory as there can be, like all that take turns.
  absl::Status PreferL1() const;
  absl::Status Launch(const LaunchShape& shape, void** arguments, const Stream& stream) const;
  // As the driver says them; stack_bytes are all bytes of local memory.
  const KernelResources& resources() const { return resources_; }
  // Clusters of `cluster` blocks (its compile-time size) that the device runs at a time.
  absl::StatusOr<int> ActiveClusters(const LaunchShape& shape, int cluster) const;

 private:
  struct Unload {
    void operator()(cudaLibrary_t library) const;
  };
  const void* function() const { return reinterpret_cast<const void*>(kernel_); }

  std::unique_ptr<std::remove_pointer_t<cudaLibrary_t>, Unload> library_;
  cudaKernel_t kernel_ = nullptr;
  KernelResources resources_;
};

}  // namespace mlpserve::cuda
