#include "kernels/cuda/driver/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/engine/cublas_lt.h"

namespace mlpserve::cuda {
namespace {

TEST(CudaStatusTest, NamesTheCallAndSaysWhatCudaSays) {
  const absl::Status status = StatusOf(cudaErrorInvalidValue, "cudaMemcpy(to, from, 3)");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "cudaMemcpy: invalid argument (cudaErrorInvalidValue)");
}

TEST(CudaStatusTest, OutOfMemoryIsNoLostDevice) {
  EXPECT_EQ(StatusOf(cudaErrorMemoryAllocation, "f").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(StatusOf(cudaErrorIllegalAddress, "f").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(StatusOf(cudaErrorECCUncorrectable, "f").code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(StatusOf(cudaSuccess, "f").ok());
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
