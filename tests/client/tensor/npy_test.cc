#include "client/tensor/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file as numpy.save writes it: `header` padded to 64 bytes, then `data`.
std::string File(std::string header, const std::string& data, int version = 1) {
  const size_t prefix = version == 1 ? 10 : 12;
  while ((prefix + header.size() + 1) % 64 != 0) header.push_back(' ');
  header.push_back('\n');
  std::string file = "\x93NUMPY";
  file.push_back(static_cast<char>(version));
  file.push_back(0);
  file.push_back(static_cast<char>(header.size() & 0xff));
  file.push_back(static_cast<char>(header.size() >> 8));
  if (version > 1) file.append(2, '\0');
  return file + header + data;
}

std::string ErrorOf(const std::string& file) {
  const absl::StatusOr<Tensor> tensor = ParseNpy(file);
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(tensor.status().message());
}

constexpr char kHeader[] = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }";
const std::string kData("\1\0\2\0\3\0\4\0\5\0\6\0", 12);

TEST(Npy, ReadsWhatNumpyWritesInEveryVersion) {
  for (const int version : {1, 2, 3}) {
    const absl::StatusOr<Tensor> tensor = ParseNpy(File(kHeader, kData, version));
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(Describe(*tensor), "INT16 [2,3]");
    EXPECT_THAT(ToFloats(*tensor), ElementsAre(1, 2, 3, 4, 5, 6));
  }
}

TEST(Npy, ReadsAScalarAnEmptyArrayAndOneDimension) {
  const auto shape_of = [](const std::string& shape, const std::string& data) {
    return ParseNpy(
               File("{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }", data))
        .value()
        .shape;
  };
  EXPECT_THAT(shape_of("()", "a"), ElementsAre());
  EXPECT_THAT(shape_of("(0, 4)", ""), ElementsAre(0, 4));
  EXPECT_THAT(shape_of("(3,)", "abc"), ElementsAre(3));
}

TEST(Npy, RoundTripsEveryTypeItKnows) {
  for (int i = 0; i <= static_cast<int>(ElementType::kFp64); ++i) {
    const auto type = static_cast<ElementType>(i);
    if (type == ElementType::kBf16) continue;
    const Tensor tensor{type, {2, 1}, std::string(2 * ByteSize(type), '\1')};
    const std::string file = FormatNpy(tensor).value();
    EXPECT_EQ((file.size() - tensor.bytes.size()) % 64, 0u);
    const absl::StatusOr<Tensor> back = ParseNpy(file);
    ASSERT_TRUE(back.ok()) << Name(type) << ": " << back.status();
    EXPECT_EQ(Describe(*back), Describe(tensor));
    EXPECT_EQ(back->bytes, tensor.bytes);
  }
}

TEST(Npy, Bf16IsWrittenAsFp32) {
  const std::vector<float> values = {1.5f, -2.0f};
  const Tensor back =
      ParseNpy(FormatNpy(FromFloats(values, {2}, ElementType::kBf16)).value()).value();
  EXPECT_EQ(back.type, ElementType::kFp32);
  EXPECT_THAT(ToFloats(back), ElementsAre(1.5f, -2.0f));
}

TEST(Npy, AWrongFileSaysWhatWasExpected) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("begins with \\x93NUMPY"));
  EXPECT_THAT(ErrorOf("PK\3\4 a zip file"), HasSubstr("begins with \\x93NUMPY"));
  EXPECT_THAT(ErrorOf(File(kHeader, kData, 4)), HasSubstr("version 1, 2 or 3, found 4"));
  EXPECT_THAT(ErrorOf(File(kHeader, kData).substr(0, 60)),
              HasSubstr("a header of 118 bytes, found 50 bytes"));
  EXPECT_THAT(ErrorOf(File(kHeader, kData.substr(1))),
              HasSubstr("12 bytes of INT16 [2,3], found 11"));
  EXPECT_THAT(ErrorOf(File(kHeader, kData + "x")), HasSubstr("found 13"));
}

TEST(Npy, AWrongHeaderSaysWhatWasExpected) {
  const auto error = [](const std::string& header) { return ErrorOf(File(header, kData)); };
  EXPECT_THAT(error("{'descr': '>i2', 'fortran_order': False, 'shape': (2, 3), }"),
              HasSubstr("little-endian bools, integers or floats ('<f4'), found '>i2'"));
  EXPECT_THAT(error("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }"),
              HasSubstr("found '|O'"));
  EXPECT_THAT(error("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"),
              HasSubstr("as 'descr'"));
  EXPECT_THAT(error("{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }"),
              HasSubstr("C order (numpy.ascontiguousarray), found Fortran order"));
  EXPECT_THAT(error("{'descr': '<i2', 'fortran_order': False, 'shape': (-2, 3), }"),
              HasSubstr("a tuple of sizes as 'shape'"));
  EXPECT_THAT(error("{'descr': '<i2', 'fortran_order': False, }"),
              HasSubstr("a header without shape"));
  EXPECT_THAT(error("{'descr': '<i2', 'descr': '<i2', 'shape': (6,)}"), HasSubstr("two of descr"));
  EXPECT_THAT(error("{'descr': '<i2', 'weight': 3}"), HasSubstr("found weight"));
  EXPECT_THAT(error("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3)} x"),
              HasSubstr("nothing after '}'"));
  EXPECT_THAT(error("{'descr"), HasSubstr("a key and ':'"));
  EXPECT_THAT(error("{'descr': '<i2', 'fortran_order': False, 'shape': "
                    "(4611686018427387904, 4611686018427387904), }"),
              HasSubstr("expected at most 2^62 bytes"));
}

}  // namespace
}  // namespace mlpserve::client
