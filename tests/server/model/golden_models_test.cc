// The models that come with the project are read as they were written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "server/model/model_reader.h"
#include "server/safetensors/reader.h"
#include "tests/source_folder.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

std::string GoldenFolder(const std::string& name) {
  return SourceFolder() + "/tests/goldens/" + name;
}

std::string DigitsFolder() { return SourceFolder() + "/deploy/models/digits"; }

class GoldenModel : public testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, IsReadWithTheShapesOfItsCase) {
  const absl::StatusOr<BlockSpec> block = ReadBlock(GoldenFolder(GetParam()), 1);
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->name, GetParam());
  const absl::StatusOr<SafetensorsReader> cases =
      SafetensorsReader::Open(GoldenFolder(GetParam()) + "/cases.safetensors");
  ASSERT_TRUE(cases.ok()) << cases.status();
  EXPECT_EQ(cases->Find("x")->shape[1], block->input_features());
  EXPECT_EQ(cases->Find("y")->shape[1], block->output_features());
  EXPECT_THAT(cases->ReadFloats("x").value(), SizeIs(cases->Find("x")->elements()));
  EXPECT_THAT(cases->ReadDoubles("y").value(), SizeIs(cases->Find("y")->elements()));
}

INSTANTIATE_TEST_SUITE_P(Goldens, GoldenModel,
                         testing::Values("mlp_three_layers", "no_bias", "one_by_one",
                                         "pointwise_zoo", "scale_batchnorm_eval",
                                         "scale_batchnorm_train", "scale_hardtanh_gelu",
                                         "sigmoid_scale_residual", "skip_input"),
                         [](const auto& test) { return std::string(test.param); });

TEST(GoldenModels, HaveTheEpiloguesThatTheirFilesSay) {
  const auto ops = [](const std::string& name, size_t layer) {
    return ToString(ReadBlock(GoldenFolder(name), 1).value().layers[layer].epilogue);
  };
  const auto written = [](std::vector<Op> list) {
    return ToString(EpilogueSpec{std::move(list), {}});
  };
  const Op sigmoid{Pointwise{Function::kSigmoid}};
  EXPECT_EQ(ops("scale_hardtanh_gelu", 0), written({{MultiplyAdd{.scale = {.value = 0.5}}},
                                                    {Clamp{-2, 2}},
                                                    {Pointwise{Function::kGeluTanh}}}));
  EXPECT_EQ(ops("sigmoid_scale_residual", 0),
            written({{Residual{{sigmoid, {MultiplyAdd{.scale = {.value = 2}}}}}}}));
  EXPECT_EQ(ops("no_bias", 0), written({{Gate{{sigmoid}}}}));
  EXPECT_EQ(ops("skip_input", 1), written({{AddInput{}}}));
  EXPECT_EQ(ops("mlp_three_layers", 2), "");
  EXPECT_EQ(ops("pointwise_zoo", 0), written({{MultiplyAdd{.shift = {.column = 0}}},
                                              {Pointwise{Function::kSilu}},
                                              {Pointwise{Function::kLeakyRelu, 0.1}},
                                              {MultiplyAdd{.scale = {.column = 1}}},
                                              {Pointwise{Function::kTanh}},
                                              {Pointwise{Function::kMish}},
                                              {Pointwise{Function::kGeluErf}}}));
  EXPECT_EQ(ops("scale_batchnorm_train", 0),
            written({{MultiplyAdd{.scale = {.column = 0}}},
                     {BatchNorm{.weight = {.column = 1}, .bias = {.column = 2}}}}));
  EXPECT_EQ(ops("scale_batchnorm_eval", 0),
            written({{MultiplyAdd{.scale = {.column = 0}}},
                     {RunningBatchNorm{.weight = {.column = 1},
                                       .bias = {.column = 2},
                                       .mean = {.column = 3},
                                       .variance = {.column = 4}}}}));
}

TEST(GoldenModels, SpreadAColumnOfOneValue) {
  const BlockSpec block = ReadBlock(GoldenFolder("pointwise_zoo"), 1).value();
  const std::vector<float>& scale = block.layers[0].epilogue.columns[1];
  EXPECT_THAT(scale, SizeIs(56));
  EXPECT_THAT(scale, testing::Each(scale[0]));
}

TEST(GoldenModels, LeaveTheBiasEmptyWhereThereIsNone) {
  EXPECT_THAT(ReadBlock(GoldenFolder("no_bias"), 1)->layers[0].bias, SizeIs(0));
  EXPECT_THAT(ReadBlock(GoldenFolder("one_by_one"), 1)->layers[0].bias, SizeIs(1));
}

TEST(DigitsModel, IsReadWithTheDesignsDefaults) {
  const absl::StatusOr<BlockConfig> config = ReadConfig(DigitsFolder() + "/");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "digits");
  EXPECT_EQ(config->directory, DigitsFolder());
  EXPECT_EQ(config->input.name, "x");
  EXPECT_EQ(config->output.name, "logits");
  EXPECT_EQ(config->batching.max_rows, 4096);
  EXPECT_EQ(config->batching.max_queued_rows, 65536);
  EXPECT_EQ(config->batching.max_queued_bytes, 65536 * 64 * 4);
  EXPECT_EQ(config->batching.default_priority, 0);
  EXPECT_THAT(config->batching.buckets, SizeIs(0));
  EXPECT_FALSE(UsesBatchStatistics(*config));

  const absl::StatusOr<BlockSpec> block = ReadBlock(*config, 1);
  ASSERT_TRUE(block.ok()) << block.status();
  std::vector<int64_t> widths = {block->input_features()};
  for (const LayerSpec& layer : block->layers) widths.push_back(layer.outputs);
  EXPECT_THAT(widths, ElementsAre(64, 256, 256, 128, 10));
  EXPECT_THAT(block->layers[1].weight, SizeIs(256 * 256));
}

}  // namespace
}  // namespace mlpserve
