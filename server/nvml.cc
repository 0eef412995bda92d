#include "server/nvml.h"

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/shared_library.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {

absl::StatusOr<Nvml> Nvml::Open(const std::string& library) {
  Nvml nvml;
  MLPSERVE_RETURN_IF_ERROR(cuda::OpenFirst("NVML", {library}, [&nvml](cuda::SharedLibrary& found) {
    found.Resolve(nvml.initialise, "nvmlInit_v2");
    found.Resolve(nvml.driver_version, "nvmlSystemGetDriverVersion");
    found.Resolve(nvml.find, "nvmlDeviceGetHandleByPciBusId_v2");
    found.Resolve(nvml.uuid, "nvmlDeviceGetUUID");
    found.Resolve(nvml.memory, "nvmlDeviceGetMemoryInfo");
    found.Resolve(nvml.utilization, "nvmlDeviceGetUtilizationRates");
    found.Resolve(nvml.power_milliwatts, "nvmlDeviceGetPowerUsage");
    found.Resolve(nvml.power_limit_milliwatts, "nvmlDeviceGetEnforcedPowerLimit");
    found.Resolve(nvml.clock_mhz, "nvmlDeviceGetClockInfo");
    found.Resolve(nvml.temperature_celsius, "nvmlDeviceGetTemperature");
    found.Resolve(nvml.ecc_errors, "nvmlDeviceGetTotalEccErrors");
  }));
  if (const int code = nvml.initialise(); code != kSuccess) {
    return absl::UnavailableError(
        absl::StrCat("no NVML: nvmlInit_v2 of ", library, " returned ", code));
  }
  return nvml;
}

}  // namespace mlpserve
