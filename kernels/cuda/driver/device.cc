#include "kernels/cuda/driver/device.h"

#include <cuda_runtime_api.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr double kReachableBandwidth = 0.94;  // of the pins'
constexpr double kSameMemory = 0.1;

// What the driver says of the chip; the rates it does not say are those of the nearest card that
// was measured, by multiprocessors.
absl::StatusOr<DeviceLimits> LimitsOf(int ordinal, const cudaDeviceProp& properties) {
  DeviceLimits limits = properties.major == 9 ? H200() : Rtx4090();
  const double ratio = static_cast<double>(properties.multiProcessorCount) / limits.multiprocessors;
  limits.capability = 10 * properties.major + properties.minor;
  limits.arch = absl::StrCat("sm_", limits.capability, limits.capability == 90 ? "a" : "");
  limits.multiprocessors = properties.multiProcessorCount;
  limits.sm.shared_per_cta = static_cast<int>(properties.sharedMemPerBlockOptin);
  limits.sm.shared_per_sm = static_cast<int>(properties.sharedMemPerMultiprocessor);
  limits.sm.registers_per_sm = properties.regsPerMultiprocessor;
  limits.sm.threads_per_sm = properties.maxThreadsPerMultiProcessor;
  limits.sm.ctas_per_sm = properties.maxBlocksPerMultiProcessor;
  limits.flops_per_s *= ratio;
  limits.fp32_flops_per_s *= ratio;
  limits.l2_bytes_per_s *= ratio;
  int kilohertz = 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(
      cudaDeviceGetAttribute(&kilohertz, cudaDevAttrMemoryClockRate, ordinal));
  // Twice: both edges of the clock carry data. The table's figure was measured: it stays where the
  // memory is of that kind, also so that kernels compiled ahead for the table's card are the ones
  // that are chosen here.
  const double reachable = kReachableBandwidth * 2e3 * kilohertz * properties.memoryBusWidth / 8;
  if (std::abs(reachable - limits.bytes_per_s) > kSameMemory * limits.bytes_per_s) {
    limits.bytes_per_s = reachable;
  }
  return limits;
}

std::string PciBusId(const cudaDeviceProp& properties) {
  return absl::StrFormat("%04x:%02x:%02x.0", properties.pciDomainID, properties.pciBusID,
                         properties.pciDeviceID);
}

}  // namespace

absl::StatusOr<std::vector<Device>> FindDevices() {
  int driver_version = 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaDriverGetVersion(&driver_version));
  if (driver_version == 0) return absl::UnavailableError("no NVIDIA driver is installed");
  int count = 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaGetDeviceCount(&count));
  std::vector<Device> devices;
  std::string left_out;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    MLPSERVE_RETURN_IF_CUDA_ERROR(cudaGetDeviceProperties(&properties, i));
    if (10 * properties.major + properties.minor < kLeastCapability) {
      absl::StrAppend(&left_out, ", found ", properties.name, " with ", properties.major, ".",
                      properties.minor);
      continue;
    }
    MLPSERVE_ASSIGN_OR_RETURN(const DeviceLimits limits, LimitsOf(i, properties));
    devices.push_back({.ordinal = i,
                       .name = properties.name,
                       .pci_bus_id = PciBusId(properties),
                       .driver_version = driver_version,
                       .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
                       .limits = limits});
  }
  if (devices.empty()) {
    return absl::UnavailableError(absl::StrCat("expected a GPU of compute capability 8.0 or above",
                                               left_out.empty() ? ", found none" : left_out));
  }
  return devices;
}

absl::Status Use(const Device& device) {
  return StatusOf(cudaSetDevice(device.ordinal), "cudaSetDevice");
}

}  // namespace mlpserve::cuda
