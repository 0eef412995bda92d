// A function of the driver that the runtime does not wrap. The driver's library is not linked, so
// that programs start on machines without one.
#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

// `Function` is decltype(&cuName), `name` "cuName". UNIMPLEMENTED: the driver has none.
template <typename Function>
absl::StatusOr<Function> DriverFunction(const char* name) {
  constexpr unsigned kSinceCuda = 12000;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  MLPSERVE_RETURN_IF_CUDA_ERROR(
      cudaGetDriverEntryPointByVersion(name, &function, kSinceCuda, cudaEnableDefault, &found));
  if (function == nullptr) {
    return absl::UnimplementedError(absl::StrCat("expected a driver with ", name, " (CUDA 12.0)"));
  }
  return reinterpret_cast<Function>(function);
}

}  // namespace mlpserve::cuda
