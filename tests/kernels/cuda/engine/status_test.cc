#include "kernels/cuda/driver/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/engine/cublas_lt.h"

namespace mlpserve::cuda {
namespace {

TEST(CudaStatusTest, NamesTheCallAndSaysWhatCudaSays) {
  const absl::Status status = StatusOf(cudaErrorInvalidValue, "cudaMemcpy(to, from, 3)");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "cudaMemcpy: invalid argument (cudaErrorInvalidValue)");
}

struct Scoped {
  int error;
  ErrorScope scope;
  absl::StatusCode code;
};
using enum ErrorScope;
using Code = absl::StatusCode;

// As CUDA's manual tells of each; by number, since an older toolkit does not name them all.
constexpr Scoped kScopes[] = {
    {2, kRequest, Code::kResourceExhausted},  // out of memory
    {205, kRequest, Code::kInvalidArgument},  // mapping of a buffer object failed
    {712, kRequest, Code::kInvalidArgument},  // part or all of the memory is already mapped
    {713, kRequest, Code::kInvalidArgument},  // pointer is not a registered memory region
    {1, kBatch, Code::kInternal},             // invalid argument
    {9, kBatch, Code::kInternal},             // invalid configuration
    {98, kBatch, Code::kInternal},            // invalid device function
    {209, kBatch, Code::kInternal},           // no kernel image for the device
    {400, kBatch, Code::kInternal},           // invalid resource handle
    {600, kBatch, Code::kInternal},           // not ready
    {701, kBatch, Code::kInternal},           // too many resources requested for launch
    {720, kBatch, Code::kInternal},           // too many blocks in a cooperative launch
    {900, kBatch, Code::kInternal},           // not permitted while a stream is captured
    {910, kBatch, Code::kInternal},           // a graph's update failed
    {3, kDevice, Code::kUnavailable},         // the driver cannot be initialised
    {4, kDevice, Code::kUnavailable},         // the driver shuts down
    {34, kDevice, Code::kUnavailable},        // the driver is a stub
    {35, kDevice, Code::kUnavailable},        // the driver is too old
    {46, kDevice, Code::kUnavailable},        // all devices are busy or unavailable
    {100, kDevice, Code::kUnavailable},       // no device
    {201, kDevice, Code::kUnavailable},       // invalid device context
    {214, kDevice, Code::kUnavailable},       // uncorrectable ECC error
    {220, kDevice, Code::kUnavailable},       // uncorrectable NVLink error
    {226, kDevice, Code::kUnavailable},       // contained memory error
    {700, kDevice, Code::kUnavailable},       // illegal address
    {702, kDevice, Code::kUnavailable},       // the launch timed out
    {709, kDevice, Code::kUnavailable},       // the context is destroyed
    {710, kDevice, Code::kUnavailable},       // assert
    {714, kDevice, Code::kUnavailable},       // hardware stack error
    {715, kDevice, Code::kUnavailable},       // illegal instruction
    {716, kDevice, Code::kUnavailable},       // misaligned address
    {717, kDevice, Code::kUnavailable},       // operation not supported in the address space
    {718, kDevice, Code::kUnavailable},       // invalid program counter
    {719, kDevice, Code::kUnavailable},       // unspecified launch failure
    {721, kDevice, Code::kUnavailable},       // tensor memory not freed
    {802, kDevice, Code::kUnavailable},       // the system is not ready
    {803, kDevice, Code::kUnavailable},       // driver and kernel module differ
    {804, kDevice, Code::kUnavailable},       // forward compatibility is not supported
    {805, kDevice, Code::kUnavailable},       // no connection to the MPS server
    {806, kDevice, Code::kUnavailable},       // RPC failure of the MPS server
    {810, kDevice, Code::kUnavailable},       // the MPS client was terminated
    {911, kDevice, Code::kUnavailable},       // an external device failed
    {999, kDevice, Code::kUnavailable},       // unknown
};

TEST(CudaStatusTest, EachErrorEndsWhatTheManualSaysThatItEnds) {
  for (const Scoped& expected : kScopes) {
    const auto error = static_cast<cudaError_t>(expected.error);
    EXPECT_EQ(ScopeOf(error), expected.scope) << cudaGetErrorName(error);
    EXPECT_EQ(StatusOf(error, "f").code(), expected.code) << cudaGetErrorName(error);
  }
  EXPECT_TRUE(StatusOf(cudaSuccess, "f").ok());
}

TEST(CudaStatusTest, NoOtherErrorEndsMoreThanABatch) {
  std::set<int> listed;
  for (const Scoped& expected : kScopes) listed.insert(expected.error);
  for (int i = 1; i <= 1100; ++i) {
    if (listed.contains(i)) continue;
    EXPECT_EQ(ScopeOf(static_cast<cudaError_t>(i)), kBatch) << i;
  }
}

TEST(CudaStatusTest, AMachineWithoutAUsableGpuIsSaidToHaveNone) {
  const auto devices = FindDevices();
  if (devices.ok()) {
    EXPECT_FALSE(devices->empty());
    return;
  }
  EXPECT_EQ(devices.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(devices.status().message()), testing::Not(testing::IsEmpty()));
}

TEST(CublasLtTest, AMissingLibraryIsNamed) {
  const auto library = CublasLt::Open("/nowhere/libcublasLt.so");
  EXPECT_EQ(library.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(library.status().message()),
              testing::HasSubstr("/nowhere/libcublasLt.so"));
}

}  // namespace
}  // namespace mlpserve::cuda
