#include "server/backend_choice.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status/status_macros.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/cuda_backend.h"
#ifdef MLPSERVE_HAS_CUDA
#include "server/device_gauges.h"
#include "server/engine/cuda_shared_memory.h"
#endif

namespace mlpserve {
namespace {

#ifdef MLPSERVE_HAS_CUDA
// Their gauges in the metrics.
absl::Status Watch(const std::vector<cuda::Device>& devices, Metrics& metrics) {
  std::vector<DeviceGauges::Device> watched;
  for (const cuda::Device& device : devices) {
    watched.push_back({.label = std::to_string(device.ordinal), .pci_bus_id = device.pci_bus_id});
  }
  MLPSERVE_ASSIGN_OR_RETURN(std::shared_ptr<DeviceGauges> gauges, DeviceGauges::Open(watched, {}));
  metrics.SetDevices([gauges] { return gauges->Read(); });
  return absl::OkStatus();
}
#endif

absl::StatusOr<ChosenBackend> OpenGpu([[maybe_unused]] std::string kernel_cache,
                                      [[maybe_unused]] Metrics& metrics) {
#ifdef MLPSERVE_HAS_CUDA
  MLPSERVE_ASSIGN_OR_RETURN(auto cuda,
                            OpenCudaBackend({.cache_directory = std::move(kernel_cache)}));
  ChosenBackend chosen{.backend = std::move(cuda.backend)};
  metrics.SetDegraded(Degradation::kNoCublasLt, !cuda.library.ok());
  if (!cuda.library.ok()) chosen.losses.emplace_back(cuda.library.message());
  const absl::Status watched = Watch(cuda.devices, metrics);
  metrics.SetDegraded(Degradation::kNoNvml, !watched.ok());
  chosen.open_cuda_region = [devices = cuda.devices](const std::string& handle, int64_t device,
                                                     uint64_t bytes) {
    return OpenCudaIpcRegion(devices, handle, device, bytes);
  };
  if (!watched.ok()) {
    chosen.losses.push_back(
        absl::StrCat("devices are not watched: ", std::string(watched.message())));
  }
  return chosen;
#else
  return absl::UnavailableError("this program was built without CUDA");
#endif
}

// Without a cache of the user's choice, one that cannot be used is done without.
absl::StatusOr<ChosenBackend> OpenGpu(const Config& config, const std::string& default_cache,
                                      Metrics& metrics) {
  const bool chosen_cache = !config.kernel_cache.empty();
  auto chosen = OpenGpu(chosen_cache ? config.kernel_cache : default_cache, metrics);
  if (chosen_cache || !absl::IsFailedPrecondition(chosen.status())) return chosen;
  const std::string loss(chosen.status().message());
  chosen = OpenGpu("", metrics);
  if (chosen.ok()) chosen->losses.push_back(absl::StrCat("kernels are not kept: ", loss));
  return chosen;
}

}  // namespace

absl::StatusOr<ChosenBackend> ChooseBackend(const Config& config, const std::string& default_cache,
                                            Metrics& metrics) {
  ChosenBackend chosen;
  if (config.backend != BackendChoice::kCpu) {
    auto gpu = OpenGpu(config, default_cache, metrics);
    const std::string reason(gpu.status().message());
    if (gpu.ok()) {
      chosen = *std::move(gpu);
    } else if (absl::IsFailedPrecondition(gpu.status())) {
      return gpu.status();
    } else if (config.backend == BackendChoice::kCuda) {
      return absl::UnavailableError(absl::StrCat("--backend cuda: ", reason));
    } else {
      const bool no_nvrtc = absl::IsNotFound(gpu.status());
      metrics.SetDegraded(no_nvrtc ? Degradation::kNoNvrtc : Degradation::kNoGpu, true);
      chosen.losses.push_back(absl::StrCat("computing without a GPU: ", reason));
    }
  }
  if (chosen.backend == nullptr) {
    chosen.backend = MakeCpuBackend({.threads = config.cpu_threads});
  }
  metrics.SetBackend(std::string(chosen.backend->name()),
                     absl::StrJoin(chosen.backend->devices(), "; "));
  return chosen;
}

}  // namespace mlpserve
