// Regions of CUDA memory over a runtime that needs no GPU.
#include "server/engine/cuda_shared_memory.h"

#include <cuda_runtime_api.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/fake/fake_cuda.h"

namespace mlpserve {
namespace {

using testing::HasSubstr;

class CudaSharedMemoryTest : public testing::Test {
 protected:
  static constexpr size_t kBytes = 64;

  void SetUp() override {
    cuda::fake::Reset();
    ASSERT_EQ(cudaMalloc(&memory_, kBytes), cudaSuccess);
    cudaIpcMemHandle_t handle;
    ASSERT_EQ(cudaIpcGetMemHandle(&handle, memory_), cudaSuccess);
    handle_.assign(handle.reserved, sizeof(handle));
    devices_ = cuda::FindDevices().value();
  }
  void TearDown() override {
    EXPECT_EQ(cudaFree(memory_), cudaSuccess);
    EXPECT_TRUE(cuda::fake::CountAll().nothing());
  }

  absl::Status OpenError(const std::string& handle, int64_t device = 0, uint64_t bytes = kBytes) {
    return OpenCudaIpcRegion(devices_, handle, device, bytes).status();
  }

  void* memory_ = nullptr;
  std::string handle_;
  std::vector<cuda::Device> devices_;
};

TEST_F(CudaSharedMemoryTest, ReadsAndWritesTheMemory) {
  const auto region = OpenCudaIpcRegion(devices_, handle_, 0, kBytes);
  ASSERT_TRUE(region.ok()) << region.status();
  const std::string rows = "rows of a client";
  ASSERT_TRUE((*region)->Write(8, std::as_bytes(std::span(rows))).ok());
  EXPECT_EQ(std::string(static_cast<char*>(memory_) + 8, rows.size()), rows);
  std::string read(4, '?');
  ASSERT_TRUE((*region)->Read(16, std::as_writable_bytes(std::span(read))).ok());
  EXPECT_EQ(read, "a cl");
  EXPECT_EQ(cuda::fake::CountAll().opened, 1);
}

TEST_F(CudaSharedMemoryTest, WhatCannotBeOpenedSaysWhy) {
  EXPECT_THAT(OpenError(handle_, 0, kBytes + 1).message(),
              HasSubstr("expected an allocation of 65 bytes or more, found one of 64"));
  EXPECT_THAT(OpenError(handle_, 0, ~uint64_t{0}).message(), HasSubstr("found one of 64"));
  EXPECT_THAT(OpenError("short").message(),
              HasSubstr("raw_handle: expected the 64 bytes of a cudaIpcMemHandle_t, found 5"));
  EXPECT_THAT(OpenError("").message(), HasSubstr("found 0"));
  EXPECT_THAT(OpenError(std::string(64, 'x')).message(),
              HasSubstr("expected one of memory of another process on this device"));
  for (const int64_t device : {-1, 1, 1 << 30}) {
    EXPECT_THAT(OpenError(handle_, device).message(),
                HasSubstr("expected a device that this server computes on (0), found " +
                          std::to_string(device)));
  }
  for (const absl::Status& status : {OpenError(handle_, 0, kBytes + 1), OpenError("short"),
                                     OpenError(std::string(64, 'x')), OpenError(handle_, 1)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
}

TEST_F(CudaSharedMemoryTest, ACopyThatFailsIsAnErrorOfItsRequest) {
  const auto region = OpenCudaIpcRegion(devices_, handle_, 0, kBytes);
  ASSERT_TRUE(region.ok());
  std::string read(4, '?');
  cuda::fake::FailCall("cudaMemcpyAsync", cudaErrorInvalidValue);
  EXPECT_FALSE((*region)->Read(0, std::as_writable_bytes(std::span(read))).ok());
  EXPECT_TRUE((*region)->Read(0, std::as_writable_bytes(std::span(read))).ok());
}

TEST_F(CudaSharedMemoryTest, WhatFailsHalfwayLeavesNothingOpen) {
  cuda::fake::FailCall("cudaStreamCreateWithFlags", cudaErrorMemoryAllocation);
  EXPECT_TRUE(absl::IsResourceExhausted(OpenError(handle_)));
  cuda::fake::FailCall("cudaIpcOpenMemHandle", cudaErrorLaunchFailure);
  EXPECT_TRUE(absl::IsUnavailable(OpenError(handle_))) << "the device is lost";
  EXPECT_EQ(cuda::fake::CountAll().opened, 0);
}

}  // namespace
}  // namespace mlpserve
