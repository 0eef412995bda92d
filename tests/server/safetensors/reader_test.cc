#include "server/safetensors/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <limits>

#include "server/safetensors/writer.h"
#include "tests/server/temporary_folder.h"
#include "tests/source_folder.h"

namespace mlpserve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsNan;
using testing::Pair;
using testing::SizeIs;

constexpr float kInf = std::numeric_limits<float>::infinity();

// Written by the safetensors package from PyPI: data/write_fixtures.py.
std::string Fixture(const std::string& name) {
  return SourceFolder() + "/tests/server/safetensors/data/" + name;
}

class PackageFile : public testing::Test {
 protected:
  const SafetensorsReader reader_ = SafetensorsReader::Open(Fixture("types.safetensors")).value();
};

TEST_F(PackageFile, HasItsMetadataAndTensors) {
  EXPECT_THAT(reader_.header().metadata, ElementsAre(Pair("format", "np"), Pair("note", "é")));
  EXPECT_THAT(reader_.header().tensors, SizeIs(18));
  EXPECT_THAT(reader_.ReadFloats("grüße \"x\"\n").value(), ElementsAre(4));
}

TEST_F(PackageFile, GivesFloats) {
  const std::vector<float> f32 = reader_.ReadFloats("float32").value();
  EXPECT_THAT(f32, ElementsAre(1.0f / 3, 0, 1e-45f, kInf, -kInf, IsNan()));
  EXPECT_TRUE(std::signbit(f32[1]));
  EXPECT_THAT(reader_.ReadFloats("float16").value(),
              ElementsAre(0x1.554p-2f, 0, 0x1p-24f, 65504, kInf, IsNan()));
  EXPECT_THAT(reader_.ReadFloats("bfloat16").value(), ElementsAre(0x1.56p-2f, 0, 0x1p-133f, kInf));
  EXPECT_THAT(reader_.ReadFloats("scalar").value(), ElementsAre(2.5f));
  EXPECT_THAT(reader_.ReadFloats("empty").value(), IsEmpty());
}

TEST_F(PackageFile, GivesDoublesRoundedOnceOrExactly) {
  EXPECT_THAT(reader_.ReadDoubles("float64").value(),
              ElementsAre(1.0 / 3, 0, 1e300, 5e-324, kInf, IsNan()));
  EXPECT_THAT(reader_.ReadFloats("float64").value(),
              ElementsAre(static_cast<float>(1.0 / 3), 0, kInf, 0, kInf, IsNan()));
  EXPECT_THAT(reader_.ReadDoubles("bfloat16").value(), ElementsAre(0x1.56p-2, 0, 0x1p-133, kInf));
}

TEST_F(PackageFile, GivesIntegers) {
  EXPECT_THAT(reader_.ReadInts("uint8").value(), ElementsAre(0, 1, 255));
  EXPECT_THAT(reader_.ReadInts("int8").value(), ElementsAre(-128, 1, 127));
  EXPECT_THAT(reader_.ReadInts("uint16").value(), ElementsAre(0, 1, 65535));
  EXPECT_THAT(reader_.ReadInts("int16").value(), ElementsAre(-32768, 1, 32767));
  EXPECT_THAT(reader_.ReadInts("uint32").value(), ElementsAre(0, 1, 4294967295));
  EXPECT_THAT(reader_.ReadInts("int32").value(), ElementsAre(INT32_MIN, 1, INT32_MAX));
  EXPECT_THAT(reader_.ReadInts("int64").value(), ElementsAre(INT64_MIN, 1, INT64_MAX));
  EXPECT_THAT(reader_.ReadInts("uint64").value(), ElementsAre(7, INT64_MAX));
  EXPECT_THAT(reader_.ReadInts("bool").value(), ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(std::string(reader_.ReadInts("uint64_large").status().message()),
              HasSubstr("expected values up to 2^63 - 1, found 9223372036854775808 at 1"));
}

TEST_F(PackageFile, GivesTheBytesOfATypeThatIsNotConverted) {
  EXPECT_EQ(reader_.Find("float8")->type, TensorType::kF8E4m3);
  EXPECT_THAT(reader_.ReadBytes("float8").value(),
              ElementsAre(std::byte{0x38}, std::byte{0x40}, std::byte{0x44}));
}

TEST_F(PackageFile, RefusesAnotherKindThanAskedFor) {
  EXPECT_THAT(std::string(reader_.ReadFloats("int32").status().message()),
              AllOf(HasSubstr("types.safetensors: tensor \"int32\": expected F64, F32, F16 or "
                              "BF16, found I32")));
  EXPECT_THAT(std::string(reader_.ReadInts("float32").status().message()),
              HasSubstr("tensor \"float32\": expected integers, found F32"));
  for (const absl::Status& status :
       {reader_.ReadFloats("no").status(), reader_.ReadDoubles("no").status(),
        reader_.ReadInts("no").status(), reader_.ReadBytes("no").status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected a tensor \"no\""));
  }
}

TEST(SafetensorsReader, ReadsAFileWithoutTensors) {
  const absl::StatusOr<SafetensorsReader> reader =
      SafetensorsReader::Open(Fixture("nothing.safetensors"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_THAT(reader->header().tensors, IsEmpty());
}

TEST(SafetensorsReader, RefusesWhatIsNoReadableFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(SafetensorsReader::Open(folder.path("none")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(SafetensorsReader::Open(folder.path()).status().message()),
              HasSubstr("expected a regular file, found a folder"));
  ASSERT_EQ(mkfifo(folder.path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(std::string(SafetensorsReader::Open(folder.path("pipe")).status().message()),
              HasSubstr("expected a regular file"));
}

auto CountFiles(const std::string& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

std::string Slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(SafetensorsReader, RefusesAFileCutAtAnyByte) {
  const std::string whole = Slurp(Fixture("types.safetensors"));
  ASSERT_GT(whole.size(), 1000);
  ASSERT_TRUE(ParseFile(whole, "w").ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseFile(whole.substr(0, size), "w").ok()) << "cut to " << size << " bytes";
  }
  const TemporaryFolder folder;
  const std::string cut = folder.Write("cut", whole.substr(0, whole.size() - 1));
  EXPECT_THAT(std::string(SafetensorsReader::Open(cut).status().message()),
              AllOf(HasSubstr(cut), HasSubstr("bytes of data in the file")));
}

// Whatever one byte of the header becomes, what is accepted still lies inside the file.
TEST(SafetensorsReader, NeverAcceptsOffsetsOutsideAFileWithOneByteChanged) {
  const std::string whole = Slurp(Fixture("types.safetensors"));
  const size_t header_end = whole.rfind('}') + 1;
  int accepted = 0;
  for (size_t at = 0; at < header_end; ++at) {
    for (const char value : {'\0', '0', '9', '"', '}', ' ', 'F', '\xC3', '\xFF'}) {
      std::string changed = whole;
      changed[at] = value;
      const absl::StatusOr<SafetensorsHeader> header = ParseFile(changed, "w");
      if (!header.ok()) continue;
      ++accepted;
      for (const TensorInfo& tensor : header->tensors) {
        ASSERT_LE(tensor.begin, tensor.end);
        ASSERT_LE(tensor.end, changed.size());
      }
    }
  }
  EXPECT_GT(accepted, 0);  // a letter of a name, or the byte that was there
}

TEST(SafetensorsReader, ReportsAFileThatShrankAfterOpening) {
  const TemporaryFolder folder;
  const std::string path = folder.Write("w.safetensors", Slurp(Fixture("types.safetensors")));
  const SafetensorsReader reader = SafetensorsReader::Open(path).value();
  std::filesystem::resize_file(path, 600);
  const absl::Status status = reader.ReadInts("bool").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("changed while it was read"));
}

TEST(SafetensorsReader, ConvertsEveryFp16AndBf16Exactly) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const std::vector<int64_t> shape = {65536};
  const TemporaryFolder folder;
  const std::string path = folder.path("w.safetensors");
  const std::vector<TensorToWrite> tensors = {
      {"f16", TensorType::kF16, shape, std::as_bytes(std::span(all))},
      {"bf16", TensorType::kBf16, shape, std::as_bytes(std::span(all))}};
  ASSERT_EQ(WriteSafetensors(path, tensors), absl::OkStatus());
  const SafetensorsReader reader = SafetensorsReader::Open(path).value();
  const std::vector<float> f16 = reader.ReadFloats("f16").value();
  const std::vector<double> bf16 = reader.ReadDoubles("bf16").value();
  for (int i = 0; i < 65536; ++i) {
    const double sign = i & 0x8000 ? -1 : 1;
    const int exponent = (i >> 10) & 0x1f;
    if (exponent == 0x1f) {
      ASSERT_FALSE(std::isfinite(f16[i])) << i;
      ASSERT_EQ(std::isnan(f16[i]), (i & 0x3ff) != 0) << i;
    } else {
      const int significand = (i & 0x3ff) + (exponent > 0 ? 1024 : 0);
      ASSERT_EQ(f16[i], sign * std::ldexp(significand, std::max(exponent, 1) - 25)) << i;
      ASSERT_EQ(std::signbit(f16[i]), sign < 0) << i;
    }
    const float wide = std::bit_cast<float>(uint32_t{all[i]} << 16);
    if (!std::isnan(wide)) {
      ASSERT_EQ(bf16[i], double{wide}) << i;
    }
  }
}

TEST(SafetensorsReader, ReadsATensorOfManyChunks) {
  std::vector<double> values(300'001);  // 2.3 MiB
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) + 0.25;
  const TemporaryFolder folder;
  const std::string path = folder.path("w.safetensors");
  const std::vector<TensorToWrite> tensors = {
      {"odd", TensorType::kU8, {1}, std::as_bytes(std::span(values)).first(1)},
      {"x", TensorType::kF64, {300'001}, std::as_bytes(std::span(values))}};
  ASSERT_EQ(WriteSafetensors(path, tensors), absl::OkStatus());
  EXPECT_EQ(SafetensorsReader::Open(path)->ReadDoubles("x").value(), values);
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const std::vector<TensorToWrite> tensors = {
      {"x \"1\"\n\\é", TensorType::kF32, {2, 3}, std::as_bytes(std::span(x))},
      {"none", TensorType::kI64, {0}, {}}};
  const TemporaryFolder folder;
  const std::string path = folder.Write("w.safetensors", "what was there before");
  ASSERT_EQ(WriteSafetensors(path, tensors, {{"by", "mlp\tserve"}}), absl::OkStatus());
  const SafetensorsReader reader = SafetensorsReader::Open(path).value();
  EXPECT_EQ(reader.ReadFloats("x \"1\"\n\\é").value(), x);
  EXPECT_THAT(reader.Find("x \"1\"\n\\é")->shape, ElementsAre(2, 3));
  EXPECT_EQ(reader.Find("x \"1\"\n\\é")->begin % 8, 0);
  EXPECT_THAT(reader.ReadInts("none").value(), IsEmpty());
  EXPECT_THAT(reader.header().metadata, ElementsAre(Pair("by", "mlp\tserve")));
  EXPECT_EQ(CountFiles(folder.path()), 1);
}

TEST(SafetensorsWriter, RefusesWhatTheReaderWouldRefuseAndLeavesTheFile) {
  const std::vector<std::byte> data(4);
  const TemporaryFolder folder;
  const std::string path = folder.Write("w.safetensors", "old");
  const auto message = [&](std::vector<TensorToWrite> tensors) {
    return std::string(WriteSafetensors(path, tensors).message());
  };
  EXPECT_THAT(
      message({{"a", TensorType::kF32, {2}, data}}),
      HasSubstr("tensor \"a\": data_offsets: expected 8 bytes for F32 of shape [2], found 4"));
  EXPECT_THAT(message({{"a", TensorType::kF32, {1}, data}, {"a", TensorType::kF32, {1}, data}}),
              HasSubstr("duplicate key \"a\""));
  EXPECT_THAT(message({{"\xFF", TensorType::kF32, {1}, data}}), HasSubstr("UTF-8"));
  EXPECT_THAT(message({{"a", TensorType::kF32, {-1}, data}}), HasSubstr("at least 0"));
  EXPECT_EQ(Slurp(path), "old");
  EXPECT_EQ(WriteSafetensors(folder.path("no/folder"), {}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CountFiles(folder.path()), 1);
}

}  // namespace
}  // namespace mlpserve
