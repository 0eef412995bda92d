#include "server/transport/shared_memory.h"

#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

absl::Status CheckOn(const SharedRegions* regions, RegionKind kind) {
  return regions != nullptr ? absl::OkStatus() : SharedMemoryIsOff(kind);
}

}  // namespace

absl::Status FillSystemSharedMemoryStatus(const SharedRegions* regions,
                                          const inference::SystemSharedMemoryStatusRequest& request,
                                          inference::SystemSharedMemoryStatusResponse* response) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions, RegionKind::kSystem));
  MLPSERVE_ASSIGN_OR_RETURN(const auto infos, regions->Infos(RegionKind::kSystem, request.name()));
  for (const RegionInfo& info : infos) {
    auto& status = (*response->mutable_regions())[info.name];
    status.set_name(info.name);
    status.set_key(info.key);
    status.set_offset(info.offset);
    status.set_byte_size(info.bytes);
  }
  return absl::OkStatus();
}

absl::Status RegisterSystemSharedMemory(
    SharedRegions* regions, const inference::SystemSharedMemoryRegisterRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions, RegionKind::kSystem));
  return regions->Register({.kind = RegionKind::kSystem,
                            .name = request.name(),
                            .key = request.key(),
                            .offset = request.offset(),
                            .bytes = request.byte_size()});
}

absl::Status UnregisterSystemSharedMemory(
    SharedRegions* regions, const inference::SystemSharedMemoryUnregisterRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions, RegionKind::kSystem));
  regions->Unregister(RegionKind::kSystem, request.name());
  return absl::OkStatus();
}

absl::Status FillCudaSharedMemoryStatus(const SharedRegions* regions,
                                        const inference::CudaSharedMemoryStatusRequest& request,
                                        inference::CudaSharedMemoryStatusResponse* response) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions, RegionKind::kCuda));
  MLPSERVE_ASSIGN_OR_RETURN(const auto infos, regions->Infos(RegionKind::kCuda, request.name()));
  for (const RegionInfo& info : infos) {
    auto& status = (*response->mutable_regions())[info.name];
    status.set_name(info.name);
    status.set_device_id(static_cast<uint64_t>(info.device));
    status.set_byte_size(info.bytes);
  }
  return absl::OkStatus();
}

absl::Status RegisterCudaSharedMemory(SharedRegions* regions,
                                      const inference::CudaSharedMemoryRegisterRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions, RegionKind::kCuda));
  return regions->Register({.kind = RegionKind::kCuda,
                            .name = request.name(),
                            .device = request.device_id(),
                            .bytes = request.byte_size()},
                           request.raw_handle());
}

absl::Status UnregisterCudaSharedMemory(
    SharedRegions* regions, const inference::CudaSharedMemoryUnregisterRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions, RegionKind::kCuda));
  regions->Unregister(RegionKind::kCuda, request.name());
  return absl::OkStatus();
}

}  // namespace mlpserve
