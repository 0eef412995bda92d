// What a call of the CUDA runtime returned: whom it concerns, and as a Status.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace mlpserve::cuda {

// What an error ends: whatever lies outside goes on as if nothing had happened.
enum class ErrorScope : uint8_t {
  // What asked for this memory, or named it: a block that is loaded, a region that is registered.
  kRequest,
  // The batch whose step failed.
  kBatch,
  // Everything: the context is gone and fails every later call, or there is no GPU or driver to
  // use. Only a new process may have another.
  kDevice,
};

// Errors that this does not know, of later drivers, are kBatch: if the device is lost, the next
// call says so.
ErrorScope ScopeOf(cudaError_t error);

// Codes: RESOURCE_EXHAUSTED, out of memory; INVALID_ARGUMENT, memory that cannot be registered or
// opened; INTERNAL, of kBatch; UNAVAILABLE, of kDevice.
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
