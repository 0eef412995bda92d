#include "kernels/cuda/driver/ipc_memory.h"

#include <cuda.h>

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/driver_function.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// The runtime knows no size of what others have allocated; the driver does.
absl::StatusOr<size_t> SizeOf(void* memory) {
  MLPSERVE_ASSIGN_OR_RETURN(
      const auto range, DriverFunction<decltype(&cuMemGetAddressRange)>("cuMemGetAddressRange"));
  CUdeviceptr base = 0;
  size_t size = 0;
  const CUresult result = range(&base, &size, reinterpret_cast<CUdeviceptr>(memory));
  if (result == CUDA_SUCCESS) return size;
  return absl::InvalidArgumentError(
      absl::StrCat("cuMemGetAddressRange failed with ", static_cast<int>(result)));
}

}  // namespace

void CloseIpc::operator()(void* memory) const { (void)cudaIpcCloseMemHandle(memory); }

absl::StatusOr<IpcMemory> IpcMemory::Open(std::string_view handle) {
  cudaIpcMemHandle_t ipc;
  if (handle.size() != sizeof(ipc)) {
    return absl::InvalidArgumentError(absl::StrCat("raw_handle: expected the ", sizeof(ipc),
                                                   " bytes of a cudaIpcMemHandle_t, found ",
                                                   handle.size()));
  }
  std::memcpy(&ipc, handle.data(), sizeof(ipc));
  void* memory = nullptr;
  const absl::Status opened = StatusOf(
      cudaIpcOpenMemHandle(&memory, ipc, cudaIpcMemLazyEnablePeerAccess), "cudaIpcOpenMemHandle");
  if (absl::IsUnavailable(opened)) return opened;
  if (!opened.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("raw_handle: expected one of memory of another process on this device: ",
                     std::string(opened.message())));
  }
  IpcMemory owner;
  owner.memory_.reset(memory);
  MLPSERVE_ASSIGN_OR_RETURN(owner.size_, SizeOf(memory));
  return owner;
}

}  // namespace mlpserve::cuda
