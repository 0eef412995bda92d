// The sources of the kernels that the benchmark itself launches compile, without a GPU.
#include "server/tools/bench/cuda_arithmetic.h"

#include <gtest/gtest.h>

#include "kernels/cuda/jit/nvrtc.h"

namespace mlpserve::tools {
namespace {

constexpr ComputeType kAllComputeTypes[] = {ComputeType::kFp32, ComputeType::kTf32,
                                            ComputeType::kFp16, ComputeType::kBf16};

void ExpectCompiles(const cuda::Nvrtc& nvrtc, const cuda::KernelText& text, const char* arch) {
  const auto kernel = nvrtc.Compile(text.source, text.label, {.arch = arch, .kernel = text.kernel});
  ASSERT_TRUE(kernel.ok()) << arch << ": " << kernel.status();
  EXPECT_TRUE(kernel->resources.in_registers()) << text.label << " for " << arch;
}

TEST(CudaArithmeticTest, ItsKernelsCompileAndStayInRegisters) {
  const auto nvrtc = cuda::Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  for (const char* arch : {"sm_80", "sm_89", "sm_90a"}) {
    for (const ComputeType type : kAllComputeTypes) {
      ExpectCompiles(**nvrtc, Float64Text(type), arch);
    }
    ExpectCompiles(**nvrtc, ReadText(), arch);
  }
}

}  // namespace
}  // namespace mlpserve::tools
