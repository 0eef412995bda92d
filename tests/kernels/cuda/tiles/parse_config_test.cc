#include "kernels/cuda/tiles/parse_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/tuning_space.h"

namespace mlpserve::cuda {
namespace {

using ::testing::HasSubstr;

constexpr ComputeType kTypes[] = {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32,
                                  ComputeType::kFp32};

void ExpectRoundTrip(const KernelConfig& config) {
  const std::string name = Name(config);
  const auto parsed = ParseConfig(name, config.compute, config.output);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(Name(*parsed), name);
  EXPECT_EQ(EmitConfig(*parsed), EmitConfig(config)) << name;
  EXPECT_EQ(parsed->split_k, config.split_k) << name;
  EXPECT_EQ(MainLoopPath(parsed->tile), MainLoopPath(config.tile)) << name;
}

TEST(ParseConfigTest, EveryTileOfTheTuningSpaceIsReadFromItsName) {
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    for (const ComputeType type : kTypes) {
      for (const DataType output : {StorageType(type), DataType::kFp32}) {
        for (const Tile& tile : TuningSpace(type, limits)) {
          KernelConfig config{.tile = tile, .compute = type, .output = output};
          ExpectRoundTrip(config);
          config.split_k = IsWgmma(tile) ? 1 : 4;
          ExpectRoundTrip(config);
        }
        for (WgmmaConfig tile : NormalisingTiles(type, limits)) {
          tile.before_columns = 2;
          ExpectRoundTrip({.tile = tile, .compute = type, .output = output});
        }
      }
    }
  }
}

TEST(ParseConfigTest, TilesOutsideTheTuningSpaceAreReadToo) {
  ExpectRoundTrip({.tile = WgmmaConfig{.tile_m = 256,
                                       .tile_n = 128,
                                       .stages = 3,
                                       .cluster_m = 1,
                                       .cluster_n = 2,
                                       .ping_pong = 1,
                                       .group_m = 4,
                                       .store_buffers = 2,
                                       .store_by_tma = 0}});
  ExpectRoundTrip({.tile = WgmmaConfig{.tile_m = 192, .tile_n = 144, .consumers = 3}});
  ExpectRoundTrip(
      {.tile = WgmmaRowsConfig{.tile_rows = 128, .batch = 32, .share = 2, .split_k = 2}});
  ExpectRoundTrip({.tile = MmaTile{128, 256, 64, 2, 4, 4, 1}, .split_k = 8});
}

TEST(ParseConfigTest, FormatsMayBeLeftOut) {
  const auto parsed =
      ParseConfig("mma.128x256x32.w2x4.s4.b1.k2", ComputeType::kFp16, DataType::kFp32);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(Name(*parsed), "mma.128x256x32.w2x4.s4.b1.fp16.fp32.k2");
}

std::string Refusal(std::string_view name) {
  const auto parsed = ParseConfig(name, ComputeType::kBf16, DataType::kBf16);
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << name;
  return std::string(parsed.status().message());
}

TEST(ParseConfigTest, WhatIsNoNameIsRefusedWithWhatWasExpected) {
  EXPECT_THAT(Refusal(""), HasSubstr("expected a kernel of ffma, mma, "));
  EXPECT_THAT(Refusal("cutlass.128x128"), HasSubstr("found cutlass.128x128"));
  EXPECT_THAT(Refusal("mma.128x128x32.w2x4.s3"),
              HasSubstr("expected a name such as mma.128x128x32.w2x4.s3.b1.bf16.bf16"));
  EXPECT_THAT(Refusal("mma.128x128x32.w2x4.s3.b2.z9"), HasSubstr("in place of \"z9\""));
  EXPECT_THAT(Refusal("mma.128x128.w2x4.s3.b2"), HasSubstr("in place of \"128x128\""));
  EXPECT_THAT(Refusal("mma.128x128x32.w2x4.s99999999999.b2"), HasSubstr("s99999999999"));
  EXPECT_THAT(Refusal("mma.128x128x-32.w2x4.s3.b2"), HasSubstr("128x128x-32"));
  // The product is of other formats than the name says.
  EXPECT_THAT(Refusal("mma.128x128x32.w2x4.s3.b2.fp16.fp16"), HasSubstr("product of bf16"));
  // Parts in another order are another name.
  EXPECT_THAT(Refusal("mma.w2x4.128x128x32.s3.b2"), HasSubstr("expected a name such as"));
  EXPECT_THAT(Refusal("wgmma_gemm.128x256"), HasSubstr("expected a name such as wgmma_gemm."));
  // A normalising tile with the name of one that does not.
  EXPECT_THAT(Refusal("wgmma_gemm.128x256.s4.c2x1.g0.b1.norm2"), HasSubstr("expected a name"));
}

}  // namespace
}  // namespace mlpserve::cuda
