#include "kernels/spec/rounding.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

template <typename ToFloat, typename FromFloat>
void ExpectEveryValueSurvives(ToFloat to_float, FromFloat from_float) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(from_float(value)))) << bits;
    } else {
      EXPECT_EQ(from_float(value), bits);
    }
  }
}

TEST(RoundingTest, EveryFp16ValueSurvivesTheWayThroughFp32) {
  ExpectEveryValueSurvives(FloatFromFp16, Fp16FromFloat);
}

TEST(RoundingTest, EveryBf16ValueSurvivesTheWayThroughFp32) {
  ExpectEveryValueSurvives(FloatFromBf16, Bf16FromFloat);
}

// Between each two neighbours: the middle goes to the even one, a step to either side to the
// nearer.
TEST(RoundingTest, Fp16RoundsToNearestWithTiesToEven) {
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = FloatFromFp16(bits);
    const float high = FloatFromFp16(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact in FP32
    EXPECT_EQ(Fp16FromFloat(middle), bits % 2 == 0 ? bits : bits + 1) << bits;
    EXPECT_EQ(Fp16FromFloat(std::nextafter(middle, 0.0f)), bits) << bits;
    EXPECT_EQ(Fp16FromFloat(std::nextafter(middle, kInf)), bits + 1) << bits;
    EXPECT_EQ(Fp16FromFloat(-middle), 0x8000 | Fp16FromFloat(middle)) << bits;
  }
}

TEST(RoundingTest, Bf16RoundsToNearestWithTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    const float middle = std::bit_cast<float>((bits << 16) + 0x8000u);
    EXPECT_EQ(Bf16FromFloat(middle), bits % 2 == 0 ? bits : bits + 1) << bits;
    EXPECT_EQ(Bf16FromFloat(std::nextafter(middle, 0.0f)), bits) << bits;
    EXPECT_EQ(Bf16FromFloat(std::nextafter(middle, kInf)), bits + 1) << bits;
  }
}

TEST(RoundingTest, Tf32KeepsTenBitsOfTheSignificand) {
  EXPECT_EQ(RoundToTf32(1 + 0x1p-10f), 1 + 0x1p-10f);
  EXPECT_EQ(RoundToTf32(1 + 0x1p-11f), 1.0f);                     // tie, to even
  EXPECT_EQ(RoundToTf32(1 + 0x3p-11f), 1 + 0x1p-9f);              // tie, to even
  EXPECT_EQ(RoundToTf32(1 + 0x1p-11f + 0x1p-23f), 1 + 0x1p-10f);  // above the tie
  EXPECT_EQ(RoundToTf32(-(1 + 0x3p-11f)), -(1 + 0x1p-9f));
  EXPECT_EQ(RoundToTf32(0x1p-149f), 0.0f);
  EXPECT_EQ(RoundToTf32(0x1p-136f), 0x1p-136f);  // the smallest TF32 number
}

TEST(RoundingTest, OverflowGivesInfinity) {
  EXPECT_EQ(FloatFromFp16(Fp16FromFloat(65519)), 65504);
  EXPECT_EQ(FloatFromFp16(Fp16FromFloat(65520)), kInf);
  EXPECT_EQ(FloatFromFp16(Fp16FromFloat(-1e30f)), -kInf);
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(FloatFromBf16(Bf16FromFloat(largest)), kInf);
  EXPECT_EQ(RoundToTf32(-largest), -kInf);
}

TEST(RoundingTest, InfinityAndNanStayWhatTheyAre) {
  const float nan = std::bit_cast<float>(0x7f800001u);  // only low bits set
  for (ComputeType type :
       {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    EXPECT_EQ(RoundTo(type, kInf), kInf);
    EXPECT_EQ(RoundTo(type, -kInf), -kInf);
    EXPECT_TRUE(std::isnan(RoundTo(type, nan))) << Name(type);
    EXPECT_TRUE(std::signbit(RoundTo(type, -0.0f))) << Name(type);
  }
}

TEST(RoundingTest, ElementsAreWrittenAndReadWithoutAlignment) {
  for (DataType type : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    std::byte bytes[5] = {};
    WriteElement(type, -1.5f, bytes + 1);
    EXPECT_EQ(ReadElement(type, bytes + 1), -1.5f) << Name(type);
    EXPECT_EQ(bytes[0], std::byte{0});
    EXPECT_EQ(bytes[4] == std::byte{0}, type != DataType::kFp32);
  }
}

}  // namespace
}  // namespace mlpserve
