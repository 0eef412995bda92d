#include "server/safetensors/header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mlpserve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

std::string File(std::string_view header, size_t data_bytes) {
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  file += header;
  return file + std::string(data_bytes, 'd');
}

absl::StatusOr<SafetensorsHeader> Parse(std::string_view header, size_t data_bytes) {
  return ParseFile(File(header, data_bytes), "w.safetensors");
}

struct BadHeader {
  const char* name;
  std::string header;
  size_t data_bytes;
  const char* error;
};

class BadHeaderTest : public testing::TestWithParam<BadHeader> {};

TEST_P(BadHeaderTest, IsRefusedWithItsOwnError) {
  const absl::Status status = Parse(GetParam().header, GetParam().data_bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("w.safetensors: "), HasSubstr(GetParam().error)));
}

const BadHeader kBadHeaders[] = {
    {"LeadingSpace", " {}", 0, "begins with {, found \" {}\""},
    {"LeadingByteOrderMark", "\xEF\xBB\xBF{}", 0, "begins with {"},
    {"Array", "[]", 0, "begins with {, found \"[]\""},
    {"TrailingNewline", "{}\n", 0, "ends with } and spaces, found \"{}\\n\""},
    {"TrailingNul", std::string("{}\0", 3), 0, "ends with } and spaces"},
    {"NulInside", std::string("{}\0}", 4), 0, "NUL byte at byte 2"},
    {"SecondObject", "{}{}", 0, "header: parse error at line 1, column 3"},
    {"Unfinished", "{\"a\":}", 0, "header: parse error at line 1, column 6"},
    {"TrailingComma", "{\"__metadata__\":{},}", 0, "header: parse error"},
    {"BadUtf8", "{\"\xFF\":{}}", 0, "ill-formed UTF-8"},
    {"LoneSurrogate", R"({"\ud800":{}})", 0, "surrogate"},
    {"DuplicateTensor",
     R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
     R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
     2, "duplicate key \"a\""},
    {"DuplicateTensorInOtherEscapes",
     R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
     R"("\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
     2, "duplicate key \"a\""},
    {"DuplicateField", R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
     "a: duplicate key \"dtype\""},
    {"DuplicateMetadata", R"({"__metadata__":{},"__metadata__":{}})", 0,
     "duplicate key \"__metadata__\""},
    {"DuplicateMetadataKey", R"({"__metadata__":{"k":"1","k":"2"}})", 0, "duplicate key \"k\""},
    {"MetadataOfNumbers", R"({"__metadata__":{"k":1}})", 0,
     "__metadata__: \"k\": expected a string, found an integer"},
    {"MetadataNested", R"({"__metadata__":{"k":{}}})", 0, "expected a string, found an object"},
    {"MetadataNoObject", R"({"__metadata__":"k"})", 0,
     "__metadata__: expected an object, found a string"},
    {"TensorNoObject", R"({"a":[1]})", 0, "tensor \"a\": expected an object, found an array"},
    {"NoType", R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1,
     "tensor \"a\": expected the field dtype, found none"},
    {"NoShape", R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1, "expected the field shape"},
    {"NoOffsets", R"({"a":{"dtype":"U8","shape":[1]}})", 1, "expected the field data_offsets"},
    {"UnknownField", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"order":"C"}})", 1,
     "found the field \"order\""},
    {"UnknownType", R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4,
     "tensor \"a\": dtype: unknown type \"F31\""},
    {"TypeInLowerCase", R"({"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}})", 4,
     "unknown type \"f32\""},
    {"TypeNoString", R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,4]}})", 4,
     "dtype: expected a string, found an integer"},
    {"ShapeNoArray", R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1,
     "shape: expected an array of integers, found an integer"},
    {"NegativeDimension", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1,
     "shape: expected an integer of at least 0, found a number"},
    {"FractionalDimension", R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1,
     "shape: expected an integer of at least 0, found a number"},
    {"NullDimension", R"({"a":{"dtype":"U8","shape":[null],"data_offsets":[0,1]}})", 1,
     "expected a value in a list, found null"},
    {"NestedShape", R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1,
     "shape: expected an integer of at least 0, found an array"},
    {"DimensionOver63Bits",
     R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}})", 1,
     "dimensions below 2^63, found 9223372036854775808"},
    {"NineDimensions", R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})",
     1, "at most 8 dimensions"},
    {"ProductOver64Bits",
     R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
     "F32 of shape [4294967296, 4294967296]: the size does not fit 64 bits"},
    {"OverTheSizeCap", R"({"a":{"dtype":"U8","shape":[68719476737],"data_offsets":[0,0]}})", 0,
     "expected at most 68719476736 bytes, found 68719476737"},
    {"HalfAByte", R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", 1,
     "expected whole bytes, found 12 bits"},
    {"OneOffset", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1]}})", 1,
     "data_offsets: expected 2 integers, found 1"},
    {"ThreeOffsets", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1,
     "data_offsets: expected 2 integers, found more"},
    {"OffsetsReversed", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1,
     "expected begin <= end, found [1, 0]"},
    {"OffsetsBeyondTheFile", R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 1,
     "tensor \"a\": data_offsets: expected at most the 1 bytes of data in the file, found [0, 2]"},
    {"OffsetsNear64Bits",
     R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}})",
     1, "expected at most the 1 bytes"},
    {"OffsetsTooFew", R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", 20,
     "tensor \"a\": data_offsets: expected 24 bytes for F32 of shape [2, 3], found 20"},
    {"OffsetsTooMany", R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,8]}})", 8,
     "expected 4 bytes for F32 of shape [], found 8"},
    {"Overlap",
     R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
     3, "tensor \"b\": expected data_offsets from 2 on, found [1, 3], which overlap tensor \"a\""},
    {"SameBytesTwice",
     R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
     2, "which overlap tensor"},
    {"HoleAtTheStart", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2,
     "tensor \"a\": expected data_offsets from 0 on, found [1, 2], which leave a hole"},
    {"HoleInside",
     R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
     R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
     3, "tensor \"b\": expected data_offsets from 1 on, found [2, 3], which leave a hole"},
    {"BytesAfterTheLast", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 3,
     "expected 1 bytes of data, which the tensors take, found 3"},
    {"BytesWithoutTensors", "{}", 1, "expected 0 bytes of data"},
};

INSTANTIATE_TEST_SUITE_P(Rules, BadHeaderTest, testing::ValuesIn(kBadHeaders),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(SafetensorsHeader, NestedTooDeeplyIsRefusedWithoutRecursion) {
  const std::string deep = "{\"a\":" + std::string(100'000, '[') + "}";
  EXPECT_THAT(std::string(Parse(deep, 0).status().message()), HasSubstr("tensor \"a\""));
}

TEST(SafetensorsHeader, OfAFileThatIsTooShortIsRefused) {
  const auto message = [](const std::string& file) {
    return std::string(ParseFile(file, "w").status().message());
  };
  EXPECT_THAT(message(""), HasSubstr("8 bytes of header length, found a file of 0 bytes"));
  EXPECT_THAT(message("\2{}"), HasSubstr("found a file of 3 bytes"));
  EXPECT_THAT(message(File("{}", 0).substr(0, 9)),
              HasSubstr("expected a header of 2 bytes, found only 1 in the file"));
}

TEST(SafetensorsHeader, OfALengthOutOfBoundsIsRefused) {
  const auto message = [](const std::string& length) {
    return std::string(ParseFile(length + "{}", "w").status().message());
  };
  const std::string range = "expected a header length of 2 to 100000000 bytes, found ";
  EXPECT_THAT(message(std::string(8, '\0')), HasSubstr(range + "0"));
  EXPECT_THAT(message(std::string("\1\0\0\0\0\0\0\0", 8)), HasSubstr(range + "1"));
  EXPECT_THAT(message(std::string("\x01\xE1\xF5\x05\0\0\0\0", 8)), HasSubstr(range + "100000001"));
  EXPECT_THAT(message(std::string(8, '\xFF')), HasSubstr(range + "18446744073709551615"));
  EXPECT_THAT(message(std::string("\x00\xE1\xF5\x05\0\0\0\0", 8)),
              HasSubstr("expected a header of 100000000 bytes, found only 2"));
}

TEST(SafetensorsHeader, OfALongBadNameIsQuotedInPart) {
  const std::string name(10'000, 'n');
  const absl::Status status = Parse("{\"" + name + "\":1}", 0).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("nnn...\": expected an object"));
  EXPECT_LT(status.message().size(), 400);
}

TEST(SafetensorsHeader, MayHaveNoTensorsAndPadding) {
  const absl::StatusOr<SafetensorsHeader> header = Parse("{}      ", 0);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->tensors, IsEmpty());
  EXPECT_THAT(header->metadata, IsEmpty());
}

TEST(SafetensorsHeader, GivesTensorsByNameWhateverTheirOrder) {
  const std::string json = R"({"b":{"data_offsets":[0,6],"shape":[3,1],"dtype":"F16"},)"
                           R"( "__metadata__" : {"k":"v"},)"
                           R"("e":{"dtype":"I64","shape":[4,0],"data_offsets":[6,6]},)"
                           R"("a":{"dtype":"F4","shape":[2],"data_offsets":[6,7]}} )";
  const absl::StatusOr<SafetensorsHeader> header = Parse(json, 7);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->metadata, ElementsAre(Pair("k", "v")));
  ASSERT_EQ(header->tensors.size(), 3);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->Find("c"), nullptr);
  const TensorInfo* b = header->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->type, TensorType::kF16);
  EXPECT_THAT(b->shape, ElementsAre(3, 1));
  EXPECT_EQ(b->begin, 8 + json.size());
  EXPECT_EQ(b->bytes(), 6);
  EXPECT_EQ(header->Find("e")->elements(), 0);
}

TEST(TensorType, IsReadBackFromItsName) {
  for (int i = 0; i <= static_cast<int>(TensorType::kF4); ++i) {
    const auto type = static_cast<TensorType>(i);
    EXPECT_EQ(ParseTensorType(Name(type)), type) << Name(type);
  }
  EXPECT_EQ(ParseTensorType(""), std::nullopt);
}

}  // namespace
}  // namespace mlpserve
