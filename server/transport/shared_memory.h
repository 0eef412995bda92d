// The protocol's methods that register shared memory and tell of it.
//
// `regions` is null where --shared-memory is off: then every one answers FAILED_PRECONDITION.
// Errors besides: those of SharedRegions.
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

// There are no regions of CUDA memory. Clients that have none either, as perf_analyzer, ask to be
// rid of them all the same, and are told that they are.
absl::Status FillCudaSharedMemoryStatus(const SharedRegions* regions,
                                        const inference::CudaSharedMemoryStatusRequest& request);
absl::Status RegisterCudaSharedMemory(const SharedRegions* regions);
absl::Status UnregisterCudaSharedMemory(const SharedRegions* regions);

}  // namespace mlpserve
