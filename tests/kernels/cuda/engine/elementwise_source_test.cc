// The kernels beside the products, compiled: needs NVRTC and no GPU.
#include <gtest/gtest.h>

#include "kernels/cuda/engine/batch_norm_step.h"
#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/plan/epilogue_parts.h"

namespace mlpserve::cuda {
namespace {

void ExpectCompiles(const std::string& source, const std::string& kernel) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  for (const char* arch : {"sm_80", "sm_89", "sm_90a"}) {
    const auto compiled = (*nvrtc)->Compile(source, kernel, {.arch = arch, .kernel = kernel});
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    EXPECT_TRUE(compiled->resources.in_registers()) << kernel << " for " << arch;
  }
}

TEST(ElementwiseSourceTest, CompilesBetweenAllFormats) {
  const EpilogueSpec epilogue{.ops = {{MultiplyAdd{.scale = {.column = 0}}}, {AddInput{}}},
                              .columns = {{1}}};
  for (const DataType x : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    for (const DataType y : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
      const auto source = ElementwiseSource(epilogue, {.x = x, .y = y, .block_input = y});
      ASSERT_TRUE(source.ok()) << source.status();
      ExpectCompiles(*source, "mlpserve_elementwise");
    }
  }
}

TEST(ElementwiseSourceTest, ABatchNormHasToBeCutOutFirst) {
  EXPECT_EQ(ElementwiseSource({.ops = {{BatchNorm{}}}}, {}).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(BatchNormSourceTest, EveryVariantCompiles) {
  const std::vector<EpiloguePart> parts =
      CutAtBatchNorms({.ops = {{BatchNorm{}}, {AddInput{}}}, .columns = {{1}}});
  for (const DataType y : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    for (const int columns : kBlockColumns) {
      const auto source = BatchNormSource(parts[1].epilogue, {.y = y, .block_input = y}, columns);
      ASSERT_TRUE(source.ok()) << source.status();
      ExpectCompiles(*source, kBatchNormKernel);
    }
  }
}

TEST(BatchNormSourceTest, TheKernelsForManyRowsCompile) {
  ExpectCompiles(StatisticsSource(), kGatherKernel);
  ExpectCompiles(StatisticsSource(), kFinishKernel);
}

}  // namespace
}  // namespace mlpserve::cuda
