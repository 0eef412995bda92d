#include "kernels/cuda/driver/status.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace mlpserve::cuda {
namespace {

// Of toolkits later than the oldest that we compile with.
constexpr int kContained = 226;
constexpr int kTensorMemoryLeak = 721;
constexpr int kMpsClientTerminated = 810;
constexpr int kExternalDevice = 911;

absl::StatusCode CodeOf(cudaError_t error) {
  switch (ScopeOf(error)) {
    case ErrorScope::kRequest:
      return error == cudaErrorMemoryAllocation ? absl::StatusCode::kResourceExhausted
                                                : absl::StatusCode::kInvalidArgument;
    case ErrorScope::kBatch:
      return absl::StatusCode::kInternal;
    case ErrorScope::kDevice:
      break;
  }
  return absl::StatusCode::kUnavailable;
}

}  // namespace

ErrorScope ScopeOf(cudaError_t error) {
  switch (static_cast<int>(error)) {
    case cudaErrorMemoryAllocation:
    case cudaErrorMapBufferObjectFailed:  // another process's memory
    case cudaErrorHostMemoryAlreadyRegistered:
    case cudaErrorHostMemoryNotRegistered:
      return ErrorScope::kRequest;
    // Nothing to use, from the start or since the device fell off its bus.
    case cudaErrorInitializationError:
    case cudaErrorStubLibrary:
    case cudaErrorInsufficientDriver:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsRpcFailure:
    // "To continue using CUDA, the process must be terminated and relaunched."
    case cudaErrorCudartUnloading:
    case cudaErrorDeviceUninitialized:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case kContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case kTensorMemoryLeak:
    case kMpsClientTerminated:
    case kExternalDevice:
    case cudaErrorUnknown:
      return ErrorScope::kDevice;
    default:
      return ErrorScope::kBatch;
  }
}

absl::Status StatusOf(cudaError_t error, std::string_view call) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // so that a later call is not blamed for this one
  return {CodeOf(error),
          absl::StrCat(std::string(call.substr(0, call.find('('))), ": ", cudaGetErrorString(error),
                       " (", cudaGetErrorName(error), ")")};
}

}  // namespace mlpserve::cuda
