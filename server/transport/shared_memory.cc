#include "server/transport/shared_memory.h"

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

absl::Status CheckOn(const SharedRegions* regions) {
  return regions != nullptr ? absl::OkStatus() : SharedMemoryIsOff();
}

}  // namespace

absl::Status FillSystemSharedMemoryStatus(const SharedRegions* regions,
                                          const inference::SystemSharedMemoryStatusRequest& request,
                                          inference::SystemSharedMemoryStatusResponse* response) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions));
  MLPSERVE_ASSIGN_OR_RETURN(const auto infos, regions->Infos(request.name()));
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
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions));
  return regions->RegisterSystem({.name = request.name(),
                                  .key = request.key(),
                                  .offset = request.offset(),
                                  .bytes = request.byte_size()});
}

absl::Status UnregisterSystemSharedMemory(
    SharedRegions* regions, const inference::SystemSharedMemoryUnregisterRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions));
  if (request.name().empty()) {
    regions->UnregisterAll();
  } else {
    regions->Unregister(request.name());
  }
  return absl::OkStatus();
}

absl::Status FillCudaSharedMemoryStatus(const SharedRegions* regions,
                                        const inference::CudaSharedMemoryStatusRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions));
  if (request.name().empty()) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("no CUDA shared memory region is registered as ", QuotedShort(request.name())));
}

absl::Status RegisterCudaSharedMemory(const SharedRegions* regions) {
  MLPSERVE_RETURN_IF_ERROR(CheckOn(regions));
  return absl::UnimplementedError(
      "CUDA shared memory is not offered: expected a region of system shared memory");
}

absl::Status UnregisterCudaSharedMemory(const SharedRegions* regions) { return CheckOn(regions); }

}  // namespace mlpserve
