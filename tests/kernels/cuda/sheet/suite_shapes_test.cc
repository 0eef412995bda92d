#include "kernels/cuda/sheet/suite_shapes.h"

#include <gtest/gtest.h>

#include <string>

namespace mlpserve::cuda {
namespace {

TEST(SuiteShapesTest, ReadsALineForEachType) {
  const auto suite = ParseSuite(
      "# a comment\n\ntime m=1,8 n=64 k=32 dtype=bf16,tf32 epilogue=sigmoid,batch_norm "
      "seconds=1\n");
  ASSERT_TRUE(suite.ok()) << suite.status();
  ASSERT_EQ(suite->size(), 2u);
  const SuiteLine& last = suite->back();
  EXPECT_EQ(last.compute, ComputeType::kTf32);
  EXPECT_EQ(last.rows, (std::vector<int64_t>{1, 8}));
  EXPECT_EQ(last.outputs, 64);
  EXPECT_EQ(last.inputs, 32);
  EXPECT_EQ(last.blocks, (std::vector<std::string>{"sigmoid", "batch_norm"}));
}

TEST(SuiteShapesTest, NamesALineThatItCannotRead) {
  for (const std::string line :
       {"time m=1 n=64 k=32 dtype=bf16", "time m=0 n=64 k=32 dtype=bf16 epilogue=gelu",
        "time m=1 n=64,65 k=32 dtype=bf16 epilogue=gelu",
        "check m=1 n=64 k=32 dtype=bf16 epilogue=gelu",
        "time m=1 n=64 k=32 dtype=int8 epilogue=gelu",
        "time m= n=64 k=32 dtype=bf16 epilogue=gelu"}) {
    const auto suite = ParseSuite(line);
    EXPECT_EQ(suite.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(suite.status().message().find(line), std::string::npos) << suite.status();
  }
  EXPECT_EQ(ParseSuite("# nothing\n").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mlpserve::cuda
