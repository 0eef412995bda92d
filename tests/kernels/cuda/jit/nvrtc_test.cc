#include "kernels/cuda/jit/nvrtc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "kernels/cuda/jit/kernel_source.h"

namespace mlpserve::cuda {
namespace {

using ::testing::HasSubstr;

constexpr char kCopy[] =
    "extern \"C\" __global__ void mlpserve_gemm(float* p) {\n"
    "  __shared__ float q[32];\n"
    "  q[threadIdx.x] = p[threadIdx.x];\n"
    "  __syncthreads();\n"
    "  p[threadIdx.x] = q[threadIdx.x ^ 1];\n"
    "}\n";

class NvrtcTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::shared_ptr<const Nvrtc>> nvrtc = Nvrtc::Open();
    if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
    nvrtc_ = *nvrtc;
  }

  std::shared_ptr<const Nvrtc> nvrtc_;
};

TEST_F(NvrtcTest, CompilesToACubinAndReadsItsResources) {
  const auto kernel = nvrtc_->Compile(kCopy, "copy", {.arch = "sm_89"});
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->cubin.substr(1, 3), "ELF");
  EXPECT_GT(kernel->resources.registers, 0);
  EXPECT_EQ(kernel->resources.static_shared_bytes, 128);
  EXPECT_TRUE(kernel->resources.in_registers());
}

TEST_F(NvrtcTest, KnowsBothArchitectures) {
  EXPECT_TRUE(nvrtc_->Supports("sm_89"));
  EXPECT_TRUE(nvrtc_->Supports("sm_90a"));
  EXPECT_FALSE(nvrtc_->Supports("sm_12"));
}

TEST_F(NvrtcTest, ASourceErrorCarriesTheCompilersLog) {
  const auto kernel = nvrtc_->Compile("int x = nothing;", "broken", {});
  EXPECT_EQ(kernel.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(kernel.status().message()), HasSubstr("\"nothing\" is undefined"));
}

TEST_F(NvrtcTest, AnUnknownArchitectureIsAnInvalidArgument) {
  EXPECT_EQ(nvrtc_->Compile(kCopy, "copy", {.arch = "sm_1"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(NvrtcTest, CompilesFromSeveralThreads) {
  std::string first, second;
  const auto compile = [&](std::string* cubin) {
    const auto kernel = nvrtc_->Compile(kCopy, "copy", {});
    if (kernel.ok()) *cubin = kernel->cubin;
  };
  std::thread thread(compile, &first);
  compile(&second);
  thread.join();
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(first, second);
}

TEST(NvrtcOpenTest, NamesTheLibraryThatIsMissing) {
  const auto nvrtc = Nvrtc::Open("libno-such-compiler.so");
  EXPECT_EQ(nvrtc.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(nvrtc.status().message()), HasSubstr("libno-such-compiler.so"));
}

TEST(NvrtcOpenTest, NamesTheFunctionThatIsMissing) {
  const auto nvrtc = Nvrtc::Open("libm.so.6");
  EXPECT_THAT(std::string(nvrtc.status().message()), HasSubstr("no function nvrtcVersion"));
}

TEST(ParseResourcesTest, ReadsTheFiguresOfItsOwnKernel) {
  const std::string log =
      "ptxas info    : Compiling entry function 'other' for 'sm_89'\n"
      "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
      "ptxas info    : Used 8 registers, used 0 barriers\n"
      "ptxas info    : Compiling entry function 'mine' for 'sm_89'\n"
      "ptxas info    : Function properties for mine\n"
      "ptxas         .     24 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
      "ptxas info    : Used 30 registers, used 1 barriers, 400 bytes smem, 376 bytes cmem[0]\n";
  const auto resources = ParseResources(log, "mine");
  ASSERT_TRUE(resources.ok()) << resources.status();
  EXPECT_EQ(*resources, (KernelResources{.registers = 30,
                                         .stack_bytes = 24,
                                         .spill_store_bytes = 12,
                                         .spill_load_bytes = 16,
                                         .static_shared_bytes = 400}));
  EXPECT_FALSE(ParseResources(log, "third").ok());
}

}  // namespace
}  // namespace mlpserve::cuda
