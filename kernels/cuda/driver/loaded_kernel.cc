#include "kernels/cuda/driver/loaded_kernel.h"

#include <algorithm>

#include "kernels/cuda/driver/status.h"

namespace mlpserve::cuda {
namespace {

cudaLaunchConfig_t ConfigOf(const LaunchShape& shape) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  return config;
}

}  // namespace

void LoadedKernel::Unload::operator()(cudaLibrary_t library) const {
  (void)cudaLibraryUnload(library);
}

absl::StatusOr<LoadedKernel> LoadedKernel::Load(const CompiledKernel& compiled,
                                                const std::string& kernel_name, int shared_bytes) {
  LoadedKernel kernel;
  cudaLibrary_t library = nullptr;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaLibraryLoadData(&library, compiled.cubin.data(), nullptr,
                                                    nullptr, 0, nullptr, nullptr, 0));
  kernel.library_.reset(library);
  MLPSERVE_RETURN_IF_CUDA_ERROR(
      cudaLibraryGetKernel(&kernel.kernel_, library, kernel_name.c_str()));
  cudaFuncAttributes attributes{};
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaFuncGetAttributes(&attributes, kernel.function()));
  kernel.resources_ = {.registers = attributes.numRegs,
                       .stack_bytes = static_cast<int>(attributes.localSizeBytes),
                       .static_shared_bytes = static_cast<int>(attributes.sharedSizeBytes)};
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaFuncSetAttribute(
      kernel.function(), cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
  // One carve-out for all kernels: a change of it between two kernels drains the multiprocessors.
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaFuncSetAttribute(kernel.function(),
                                                     cudaFuncAttributePreferredSharedMemoryCarveout,
                                                     cudaSharedmemCarveoutMaxShared));
  return kernel;
}

absl::Status LoadedKernel::PreferL1() const {
  return StatusOf(cudaFuncSetAttribute(function(), cudaFuncAttributePreferredSharedMemoryCarveout,
                                       cudaSharedmemCarveoutMaxL1),
                  "cudaFuncSetAttribute");
}

absl::Status LoadedKernel::Launch(const LaunchShape& shape, void** arguments,
                                  const Stream& stream) const {
  cudaLaunchConfig_t config = ConfigOf(shape);
  config.stream = stream.get();
  cudaLaunchAttribute attribute{};
  if (shape.programmatic) {
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  } else {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  config.attrs = &attribute;
  config.numAttrs = shape.programmatic || shape.cooperative ? 1 : 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaLaunchKernelExC(&config, function(), arguments));
  return absl::OkStatus();
}

absl::StatusOr<int> LoadedKernel::ActiveClusters(const LaunchShape& shape, int cluster) const {
  cudaLaunchConfig_t config = ConfigOf(shape);
  config.gridDim = dim3(static_cast<unsigned>(cluster));
  cudaLaunchAttribute size{};
  size.id = cudaLaunchAttributeClusterDimension;
  size.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  config.attrs = &size;
  config.numAttrs = 1;
  int clusters = 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaOccupancyMaxActiveClusters(&clusters, function(), &config));
  return std::max(clusters, 1);
}

}  // namespace mlpserve::cuda
