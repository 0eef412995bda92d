// The protocol's methods that register shared memory and tell of it.
//
// `regions` is null where --shared-memory is off: then every one answers FAILED_PRECONDITION.
// Where one kind is on, the other can be asked for and unregistered too, as perf_analyzer does:
// there is none of it. Errors besides: those of SharedRegions.
#pragma once

#include "absl/status/status.h"
#include "proto/open_inference.pb.h"
#include "server/shared_memory/registry.h"

namespace mlpserve {

absl::Status FillSystemSharedMemoryStatus(const SharedRegions* regions,
                                          const inference::SystemSharedMemoryStatusRequest& request,
                                          inference::SystemSharedMemoryStatusResponse* response);
absl::Status RegisterSystemSharedMemory(
    SharedRegions* regions, const inference::SystemSharedMemoryRegisterRequest& request);
absl::Status UnregisterSystemSharedMemory(
    SharedRegions* regions, const inference::SystemSharedMemoryUnregisterRequest& request);

absl::Status FillCudaSharedMemoryStatus(const SharedRegions* regions,
                                        const inference::CudaSharedMemoryStatusRequest& request,
                                        inference::CudaSharedMemoryStatusResponse* response);
absl::Status RegisterCudaSharedMemory(SharedRegions* regions,
                                      const inference::CudaSharedMemoryRegisterRequest& request);
absl::Status UnregisterCudaSharedMemory(
    SharedRegions* regions, const inference::CudaSharedMemoryUnregisterRequest& request);

}  // namespace mlpserve
