// The kernels beside the products, compiled: needs NVRTC and no GPU.
#include "kernels/cuda/plan/pass_texts.h"

#include <gtest/gtest.h>

#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/plan/epilogue_parts.h"
#include "kernels/cuda/plan/norm_launch.h"

namespace mlpserve::cuda {
namespace {

void ExpectCompiles(const KernelText& text) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  for (const char* arch : {"sm_80", "sm_89", "sm_90a"}) {
    const auto compiled =
        (*nvrtc)->Compile(text.source, text.label, {.arch = arch, .kernel = text.kernel});
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    EXPECT_TRUE(compiled->resources.in_registers()) << text.label << " for " << arch;
  }
}

TEST(ElementwiseTextTest, CompilesBetweenAllFormats) {
  const EpilogueSpec epilogue{.ops = {{MultiplyAdd{.scale = {.column = 0}}}, {AddInput{}}},
                              .columns = {{1}}};
  for (const DataType x : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    for (const DataType y : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
      const auto text = ElementwiseText(epilogue, {.x = x, .y = y, .block_input = y});
      ASSERT_TRUE(text.ok()) << text.status();
      ExpectCompiles(*text);
    }
  }
}

TEST(ElementwiseTextTest, ABatchNormHasToBeCutOutFirst) {
  EXPECT_EQ(ElementwiseText({.ops = {{BatchNorm{}}}}, {}).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(BatchNormTextTest, EveryVariantCompiles) {
  const std::vector<EpiloguePart> parts =
      CutAtBatchNorms({.ops = {{BatchNorm{}}, {AddInput{}}}, .columns = {{1}}});
  for (const DataType y : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    for (size_t variant = 0; variant < kHeldColumns.size(); ++variant) {
      const auto text = BatchNormText(parts[1].epilogue, {.y = y, .block_input = y}, variant);
      ASSERT_TRUE(text.ok()) << text.status();
      ExpectCompiles(*text);
    }
  }
}

TEST(BatchNormTextTest, TheKernelsForManyRowsCompile) {
  ExpectCompiles(GatherText());
  ExpectCompiles(FinishText());
}

TEST(SplitTextTest, Compiles) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  for (const char* arch : {"sm_80", "sm_90a"}) {
    const KernelText text = SplitText();
    const auto compiled =
        (*nvrtc)->Compile(text.source, text.label, {.arch = arch, .kernel = text.kernel});
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    EXPECT_TRUE(compiled->resources.in_registers()) << arch;
  }
}

TEST(NormVariantTest, TheWideVariantWhereTwoCtasFitThenTheNarrowThenParts) {
  const SmLimits sm = *SmLimitsOf(90);
  EXPECT_EQ(NormVariant(1, sm), 0u);
  size_t last = 0;
  for (int64_t m = 1; m <= 100000; m *= 2) {
    const size_t variant = NormVariant(m, sm);
    EXPECT_GE(variant, last) << m;
    if (variant != kHeldInParts) {
      EXPECT_LE(HeldBytes(m, kHeldColumns[variant]), MostHeldBytes(sm)) << m;
    }
    last = variant;
  }
  EXPECT_EQ(last, kHeldInParts);
}

}  // namespace
}  // namespace mlpserve::cuda
