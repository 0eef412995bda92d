#include "kernels/cuda/plan/epilogue_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve::cuda {
namespace {

const Op kRelu{Pointwise{.function = Function::kRelu}};

TEST(EpiloguePartsTest, WithoutBatchNormThereIsOnePartAndItIsTheWhole) {
  const EpilogueSpec whole{.ops = {{MultiplyAdd{.shift = {.column = 0}}}, kRelu},
                           .columns = {{1, 2}}};
  const std::vector<EpiloguePart> parts = CutAtBatchNorms(whole);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_FALSE(parts[0].norm.has_value());
  EXPECT_EQ(parts[0].epilogue.ops, whole.ops);
  EXPECT_EQ(parts[0].epilogue.columns, whole.columns);
}

TEST(EpiloguePartsTest, AnEmptyEpilogueIsOneEmptyPart) {
  const std::vector<EpiloguePart> parts = CutAtBatchNorms({});
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_TRUE(parts[0].epilogue.ops.empty());
}

TEST(EpiloguePartsTest, EachNormBeginsAPartThatNormalisesFirst) {
  const BatchNorm first{.weight = {.value = 2}, .eps = 1e-3};
  const BatchNorm second{.bias = {.column = 0}};
  const EpilogueSpec whole{.ops = {{first}, kRelu, {second}}, .columns = {{1, 2, 3}}};
  const std::vector<EpiloguePart> parts = CutAtBatchNorms(whole);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_TRUE(parts[0].epilogue.ops.empty());
  EXPECT_TRUE(parts[0].epilogue.columns.empty());
  ASSERT_TRUE(parts[1].norm.has_value());
  EXPECT_EQ(*parts[1].norm, first);
  ASSERT_TRUE(parts[2].norm.has_value());
  EXPECT_EQ(*parts[2].norm, second);
  const std::vector<Op> normalise = {
      {MultiplyAdd{.shift = {.column = 0}}},
      {MultiplyAdd{.scale = {.column = 1}, .shift = {.column = 2}}},
  };
  EXPECT_EQ(parts[2].epilogue.ops, normalise);
  EXPECT_THAT(parts[1].epilogue.ops, testing::ElementsAre(normalise[0], normalise[1], kRelu));
  EXPECT_THAT(parts[2].epilogue.columns, testing::SizeIs(kNormColumns));
  EXPECT_THAT(parts[2].epilogue.columns[0], testing::SizeIs(3));
}

TEST(EpiloguePartsTest, APartHasTheColumnsThatItUsesAlsoThoseOfNestedOps) {
  const EpilogueSpec whole{
      .ops = {{MultiplyAdd{.scale = {.column = 1}}},
              {BatchNorm{}},
              {Residual{{{Gate{{{MultiplyAdd{.scale = {.column = 2}, .shift = {.column = 2}}}}}}}}},
              {MultiplyAdd{.scale = {.column = 0}}}},
      .columns = {{10}, {11}, {12}}};
  const std::vector<EpiloguePart> parts = CutAtBatchNorms(whole);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].epilogue.columns, (std::vector<std::vector<float>>{{11}}));
  EXPECT_EQ(parts[0].epilogue.ops, (std::vector<Op>{{MultiplyAdd{.scale = {.column = 0}}}}));
  EXPECT_EQ(parts[1].epilogue.columns,
            (std::vector<std::vector<float>>{{0}, {0}, {0}, {12}, {10}}));
  const Op nested{
      Residual{{{Gate{{{MultiplyAdd{.scale = {.column = 3}, .shift = {.column = 3}}}}}}}}};
  EXPECT_EQ(parts[1].epilogue.ops[2], nested);
  EXPECT_EQ(parts[1].epilogue.ops[3], (Op{MultiplyAdd{.scale = {.column = 4}}}));
}

}  // namespace
}  // namespace mlpserve::cuda
