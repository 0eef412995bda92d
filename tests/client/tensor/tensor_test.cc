#include "client/tensor/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace mlpserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class Value>
Tensor Of(ElementType type, std::vector<Value> values) {
  Tensor tensor{type, {static_cast<int64_t>(values.size())}, {}};
  tensor.bytes.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value));
  return tensor;
}

TEST(Tensor, EveryTypeIsNamedAndFoundAgain) {
  for (int i = 0; i <= static_cast<int>(ElementType::kFp64); ++i) {
    const auto type = static_cast<ElementType>(i);
    EXPECT_EQ(ParseElementType(Name(type)), type) << Name(type);
  }
  EXPECT_EQ(Name(ElementType::kBf16), "BF16");
  EXPECT_EQ(Name(ElementType::kFp64), "FP64");
  EXPECT_EQ(ParseElementType("F32"), std::nullopt);
}

TEST(Tensor, ByteCountIsTheProductAndOverflowIsAnError) {
  EXPECT_EQ(ByteCount(ElementType::kFp32, std::vector<int64_t>{3, 5}).value(), 60);
  EXPECT_EQ(ByteCount(ElementType::kFp64, {}).value(), 8);
  EXPECT_EQ(ByteCount(ElementType::kFp32, std::vector<int64_t>{int64_t{1} << 62, 0, 9}).value(), 0);
  const std::vector<int64_t> huge = {int64_t{1} << 31, int64_t{1} << 31};
  EXPECT_THAT(ByteCount(ElementType::kFp32, huge).status().message(),
              HasSubstr("expected at most 2^62 bytes, found FP32 [2147483648,2147483648]"));
  const std::vector<int64_t> negative = {2, -1};
  EXPECT_THAT(ByteCount(ElementType::kFp32, negative).status().message(), HasSubstr("[2,-1]"));
}

TEST(Tensor, EveryTypeConvertsToFloats) {
  EXPECT_THAT(ToFloats(Of<uint8_t>(ElementType::kBool, {0, 1})), ElementsAre(0, 1));
  EXPECT_THAT(ToFloats(Of<int8_t>(ElementType::kInt8, {-128, 127})), ElementsAre(-128, 127));
  EXPECT_THAT(ToFloats(Of<uint16_t>(ElementType::kUint16, {65535})), ElementsAre(65535));
  EXPECT_THAT(ToFloats(Of<int64_t>(ElementType::kInt64, {-3})), ElementsAre(-3));
  EXPECT_THAT(ToFloats(Of<double>(ElementType::kFp64, {0.1})), ElementsAre(0.1f));
  EXPECT_THAT(ToFloats(Of<uint16_t>(ElementType::kFp16, {0x3c00, 0xc000})), ElementsAre(1, -2));
  EXPECT_THAT(ToFloats(Of<uint16_t>(ElementType::kBf16, {0x3f80, 0xc000})), ElementsAre(1, -2));
  EXPECT_THAT(ToFloats(Of<float>(ElementType::kFp32, {})), ElementsAre());
}

TEST(Tensor, FloatsAreRoundedToTheNearestOfTheWiresType) {
  const std::vector<float> values = {1.0f, 1.0f + 0x1p-11f, 1.0f + 0x1p-9f, 70000.0f};
  EXPECT_THAT(ToFloats(FromFloats(values, {4}, ElementType::kFp16)),
              ElementsAre(1.0f, 1.0f, 1.0f + 0x1p-9f, std::numeric_limits<float>::infinity()));
  EXPECT_THAT(ToFloats(FromFloats(values, {4}, ElementType::kBf16)),
              ElementsAre(1.0f, 1.0f, 1.0f, 70144.0f));
  EXPECT_THAT(ToFloats(FromFloats(values, {4}, ElementType::kFp32)),
              ::testing::ElementsAreArray(values));
}

TEST(Tensor, NanStaysNanInEveryType) {
  const std::vector<float> nan = {std::nanf("")};
  for (const ElementType type : {ElementType::kFp16, ElementType::kBf16, ElementType::kFp32}) {
    EXPECT_TRUE(std::isnan(ToFloats(FromFloats(nan, {1}, type))[0])) << Name(type);
  }
}

TEST(Tensor, IntegersAreExactAndOthersAreNamed) {
  constexpr int64_t kBig = std::numeric_limits<int64_t>::min();
  EXPECT_THAT(ToIntegers(Of<int64_t>(ElementType::kInt64, {kBig, 7})).value(),
              ElementsAre(kBig, 7));
  EXPECT_THAT(ToIntegers(Of<float>(ElementType::kFp32, {3, -4})).value(), ElementsAre(3, -4));
  EXPECT_THAT(ToIntegers(Of<float>(ElementType::kFp32, {3, 4.5})).status().message(),
              HasSubstr("value 1: expected an integer, found 4.5"));
  EXPECT_FALSE(ToIntegers(Of<float>(ElementType::kFp32, {std::nanf("")})).ok());
  EXPECT_FALSE(ToIntegers(Of<double>(ElementType::kFp64, {1e300})).ok());
  EXPECT_FALSE(ToIntegers(Of<uint64_t>(ElementType::kUint64, {~uint64_t{0}})).ok());
}

}  // namespace
}  // namespace mlpserve::client
