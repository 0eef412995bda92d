#include "kernels/cuda/driver/memory.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/status.h"

namespace mlpserve::cuda {
namespace {

absl::Status Sized(const absl::Status& status, size_t bytes) {
  return {status.code(), absl::StrCat(std::string(status.message()), ", for ", bytes, " bytes")};
}

// "; 4096 of 524288 are free", as far as the driver says.
std::string WhatIsFree() {
  size_t free = 0;
  size_t total = 0;
  if (!StatusOf(cudaMemGetInfo(&free, &total), "cudaMemGetInfo").ok()) return "";
  return absl::StrCat("; ", free, " of ", total, " are free");
}

}  // namespace

void FreeDevice::operator()(void* memory) const { (void)cudaFree(memory); }
void FreePinned::operator()(void* memory) const { (void)cudaFreeHost(memory); }

absl::StatusOr<DeviceMemory> DeviceMemory::Allocate(size_t bytes) {
  void* memory = nullptr;
  const size_t size = std::max<size_t>(bytes, 1);
  const absl::Status status = StatusOf(cudaMalloc(&memory, size), "cudaMalloc");
  if (!status.ok()) {
    const absl::Status sized = Sized(status, bytes);
    return absl::Status(sized.code(), absl::StrCat(std::string(sized.message()), WhatIsFree()));
  }
  DeviceMemory owner(memory, size);
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemset(memory, 0, size));
  // Streams of ours do not wait for the default one, on which the memory is being set.
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaStreamSynchronize(nullptr));
  return owner;
}

absl::StatusOr<PinnedMemory> PinnedMemory::Allocate(size_t bytes) {
  void* memory = nullptr;
  const size_t size = std::max<size_t>(bytes, 1);
  const absl::Status status =
      StatusOf(cudaHostAlloc(&memory, size, cudaHostAllocPortable), "cudaHostAlloc");
  if (!status.ok()) return Sized(status, bytes);
  std::memset(memory, 0, size);
  return PinnedMemory(memory, size);
}

absl::StatusOr<int64_t> FreeDeviceBytes() {
  size_t free = 0;
  size_t total = 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

absl::Status CopyToDevice(void* to, const void* from, size_t bytes) {
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
  return StatusOf(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
}

absl::Status CopyOnDevice(void* to, const void* from, size_t bytes) {
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToDevice));
  return StatusOf(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
}

}  // namespace mlpserve::cuda
