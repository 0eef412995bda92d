#include "server/engine/cuda_shared_memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/cuda/driver/ipc_memory.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

class CudaRegion final : public SharedRegion {
 public:
  CudaRegion(cuda::Device device, cuda::IpcMemory memory, cuda::Stream stream)
      : device_(std::move(device)), memory_(std::move(memory)), stream_(std::move(stream)) {}
  // What it closes is closed on its device.
  ~CudaRegion() override { (void)cuda::Use(device_); }

  absl::Status Read(uint64_t offset, std::span<std::byte> to) const override {
    return Copy(to.data(), memory_.get() + offset, to.size(), cudaMemcpyDeviceToHost);
  }
  absl::Status Write(uint64_t offset, std::span<const std::byte> from) const override {
    return Copy(memory_.get() + offset, from.data(), from.size(), cudaMemcpyHostToDevice);
  }

 private:
  absl::Status Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) const {
    MLPSERVE_RETURN_IF_ERROR(cuda::Use(device_));
    MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(to, from, bytes, kind, stream_.get()));
    return stream_.Synchronize();
  }

  const cuda::Device device_;
  const cuda::IpcMemory memory_;
  const cuda::Stream stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SharedRegion>> OpenCudaIpcRegion(
    const std::vector<cuda::Device>& devices, const std::string& handle, int64_t device,
    uint64_t bytes) {
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const cuda::Device& known) {
    return known.ordinal == device;
  });
  if (found == devices.end()) {
    const std::string ordinals = absl::StrJoin(
        devices, ", ",
        [](std::string* out, const cuda::Device& known) { absl::StrAppend(out, known.ordinal); });
    return absl::InvalidArgumentError(
        absl::StrCat("device_id: expected a device that this server computes on (", ordinals,
                     "), found ", device));
  }
  MLPSERVE_RETURN_IF_ERROR(cuda::Use(*found));
  MLPSERVE_ASSIGN_OR_RETURN(cuda::IpcMemory memory, cuda::IpcMemory::Open(handle));
  if (bytes > memory.size()) {
    return absl::InvalidArgumentError(absl::StrCat("expected an allocation of ", bytes,
                                                   " bytes or more, found one of ", memory.size()));
  }
  MLPSERVE_ASSIGN_OR_RETURN(cuda::Stream stream, cuda::Stream::Create());
  return std::make_unique<CudaRegion>(*found, std::move(memory), std::move(stream));
}

}  // namespace mlpserve
