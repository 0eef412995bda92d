// The sources of the kernels that the benchmark itself launches compile, without a GPU.
#include "server/tools/bench/cuda_arithmetic.h"

#include <gtest/gtest.h>

#include "kernels/cuda/jit/nvrtc.h"

namespace mlpserve::tools {
namespace {

constexpr ComputeType kAllComputeTypes[] = {ComputeType::kFp32, ComputeType::kTf32,
                                            ComputeType::kFp16, ComputeType::kBf16};

TEST(CudaArithmeticTest, ItsKernelsCompileAndStayInRegisters) {
  const auto nvrtc = cuda::Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  for (const char* arch : {"sm_80", "sm_89", "sm_90a"}) {
    for (const ComputeType type : kAllComputeTypes) {
      const auto kernel = (*nvrtc)->Compile(Float64Source(type), "float64",
                                            {.arch = arch, .kernel = kFloat64Kernel});
      ASSERT_TRUE(kernel.ok()) << arch << " " << Name(type) << ": " << kernel.status();
      EXPECT_TRUE(kernel->resources.in_registers()) << arch << " " << Name(type);
    }
    const auto read =
        (*nvrtc)->Compile(ReadSource(), "read", {.arch = arch, .kernel = kReadKernel});
    ASSERT_TRUE(read.ok()) << arch << ": " << read.status();
    EXPECT_TRUE(read->resources.in_registers()) << arch;
  }
}

}  // namespace
}  // namespace mlpserve::tools
