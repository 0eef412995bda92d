// What a call of the CUDA runtime returned, as a Status.
//
// Codes: RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, there is no GPU or driver to use, or the
// device is lost and every later call fails too; INTERNAL, the rest.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "absl/status/status.h"

namespace mlpserve::cuda {

// `call` may be the whole expression: its name alone enters the message.
absl::Status StatusOf(cudaError_t error, std::string_view call);

}  // namespace mlpserve::cuda

// Returns from the function where a runtime call fails.
#define MLPSERVE_RETURN_IF_CUDA_ERROR(call)                                         \
  do {                                                                              \
    if (const cudaError_t mlpserve_error = (call); mlpserve_error != cudaSuccess) { \
      return ::mlpserve::cuda::StatusOf(mlpserve_error, #call);                     \
    }                                                                               \
  } while (false)
