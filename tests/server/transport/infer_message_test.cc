// ParseInferMessage is held against protobuf's own parser: same bytes, same verdict, same values.
#include "server/transport/infer_message.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/open_inference.pb.h"
#include "tests/server/transport/parser_comparison.h"

namespace mlpserve {
namespace {

using inference::ModelInferRequest;

Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Both parsers on the same bytes, of which ours sees `pieces`. Returns whether they are a message.
bool ExpectSameVerdict(const std::string& bytes, std::span<const Bytes> pieces,
                       InferMessage* message) {
  const ParserComparison comparison = CompareParsers(bytes, pieces, message);
  EXPECT_EQ(comparison.difference, "") << absl::CHexEscape(bytes);
  return comparison.valid;
}

bool ExpectSameVerdict(const std::string& bytes) {
  InferMessage message;
  const Bytes whole = AsBytes(bytes);
  return ExpectSameVerdict(bytes, {&whole, 1}, &message);
}

void AppendVarint(uint64_t value, std::string* to) {
  for (; value >= 0x80; value >>= 7) to->push_back(static_cast<char>(value | 0x80));
  to->push_back(static_cast<char>(value));
}

std::string Varint(uint32_t field, uint64_t value) {
  std::string out;
  AppendVarint(WireTag(field, WireType::kVarint), &out);
  AppendVarint(value, &out);
  return out;
}

std::string Delimited(uint32_t field, const std::string& bytes) {
  std::string out;
  AppendVarint(WireTag(field, WireType::kLengthDelimited), &out);
  AppendVarint(bytes.size(), &out);
  return out + bytes;
}

std::string Group(uint32_t field, const std::string& fields) {
  std::string out;
  AppendVarint(WireTag(field, WireType::kStartGroup), &out);
  out += fields;
  AppendVarint(WireTag(field, WireType::kEndGroup), &out);
  return out;
}

// Something in every field, so that every split falls into every kind of field.
ModelInferRequest FullRequest() {
  ModelInferRequest request;
  request.set_model_name("digits");
  request.set_model_version("3");
  request.set_id("r\xc3\xb6w-17");
  (*request.mutable_parameters())["timeout"].set_int64_param(-5);
  (*request.mutable_parameters())["priority"].set_uint64_param(uint64_t{1} << 63);
  (*request.mutable_parameters())["other"].set_double_param(0.5);
  (*request.mutable_parameters())["sequence_id"].set_string_param("s");
  auto* input = request.add_inputs();
  input->set_name("x");
  input->set_datatype("FP32");
  input->add_shape(2);
  input->add_shape(300);
  input->add_shape(-1);
  (*input->mutable_parameters())["shared_memory_region"].set_string_param("r");
  (*input->mutable_parameters())["shared_memory_byte_size"].set_int64_param(-1);
  for (const float value : {1.0f, -2.5f, 3e38f}) {
    input->mutable_contents()->add_fp32_contents(value);
  }
  input->mutable_contents()->add_int_contents(-7);
  request.add_inputs()->mutable_contents()->add_bytes_contents("ignored");
  auto* output = request.add_outputs();
  output->set_name("logits");
  (*output->mutable_parameters())["shared_memory_region"].set_string_param("r\xc3\xb6w");
  (*output->mutable_parameters())["shared_memory_offset"].set_uint64_param(uint64_t{1} << 63);
  request.add_outputs()->set_name("second");
  request.add_raw_input_contents(std::string(300, '\x5a'));
  request.add_raw_input_contents("second");
  return request;
}

TEST(InferMessageTest, AnEmptyMessageIsValid) { EXPECT_TRUE(ExpectSameVerdict("")); }

TEST(InferMessageTest, EveryFieldIsReadAsTheGeneratedClassReadsIt) {
  EXPECT_TRUE(ExpectSameVerdict(FullRequest().SerializeAsString()));
}

TEST(InferMessageTest, TheBytesMayBeSplitAnywhere) {
  const std::string bytes = FullRequest().SerializeAsString();
  InferMessage message;  // used again and again, as calls do
  for (size_t i = 0; i <= bytes.size(); ++i) {
    const Bytes whole = AsBytes(bytes);
    const Bytes pieces[] = {whole.first(i), {}, whole.subspan(i)};
    ASSERT_TRUE(ExpectSameVerdict(bytes, pieces, &message)) << "split at " << i;
  }
  std::vector<Bytes> single;
  for (const char& byte : bytes) single.push_back(AsBytes({&byte, 1}));
  EXPECT_TRUE(ExpectSameVerdict(bytes, single, &message));
}

TEST(InferMessageTest, EveryTruncationIsJudgedAlike) {
  const std::string bytes = FullRequest().SerializeAsString();
  for (size_t i = 0; i < bytes.size(); ++i) ExpectSameVerdict(bytes.substr(0, i));
}

TEST(InferMessageTest, TensorBytesAreReferredToAndNotCopied) {
  ModelInferRequest request;
  request.add_raw_input_contents(std::string(1000, 'a'));
  const std::string bytes = request.SerializeAsString();
  const Bytes whole = AsBytes(bytes);
  const Bytes pieces[] = {whole.first(500), whole.subspan(500)};
  InferMessage message;
  ASSERT_TRUE(ParseInferMessage(pieces, &message).ok());
  ASSERT_EQ(message.raw_input.size(), 2u);
  EXPECT_EQ(message.raw_input[1].data(), whole.data() + 500);
  EXPECT_EQ(message.raw_input[0].data() + message.raw_input[0].size(), whole.data() + 500);
}

TEST(InferMessageTest, TheLastOfARepeatedScalarCounts) {
  EXPECT_TRUE(ExpectSameVerdict(Delimited(1, "first") + Delimited(1, "second")));
}

TEST(InferMessageTest, ContentsThatComeTwiceAreMerged) {
  const std::string one = Delimited(5, Delimited(6, std::string("\0\0\x80\x3f", 4)));
  EXPECT_TRUE(ExpectSameVerdict(Delimited(5, one + one)));
}

TEST(InferMessageTest, PackedAndUnpackedElementsMayAlternate) {
  const std::string unpacked = std::string("\x35", 1) + std::string("\0\0\0\x40", 4);
  const std::string packed = Delimited(6, std::string("\0\0\x80\x3f\0\0\x80\xbf", 8));
  const std::string shape = Varint(3, 1) + Delimited(3, std::string("\x02\x03", 2)) + Varint(3, 4);
  EXPECT_TRUE(
      ExpectSameVerdict(Delimited(5, shape + Delimited(5, unpacked + packed + unpacked + packed))));
}

TEST(InferMessageTest, PackedFloatsMustFillTheirField) {
  EXPECT_FALSE(ExpectSameVerdict(Delimited(5, Delimited(5, Delimited(6, "abcde")))));
}

TEST(InferMessageTest, MapEntriesFollowTheRulesOfMaps) {
  const std::string five = Delimited(2, Varint(2, 5));
  const std::string six = Delimited(2, Varint(5, 6));
  const std::string key = Delimited(1, "timeout");
  const std::string other = Delimited(1, "priority");
  const std::string unknown = Delimited(9, "unknown");
  const std::string empty = Delimited(2, "");
  const std::string both = Delimited(2, absl::StrCat(Varint(2, 1), Varint(1, 9)));
  for (const std::string& entry :
       {absl::StrCat(key, five), absl::StrCat(five, key), key, five, std::string(),
        absl::StrCat(key, five, six), absl::StrCat(key, other, five),
        absl::StrCat(key, five, other), absl::StrCat(key, five, unknown),
        absl::StrCat(key, empty, five), absl::StrCat(key, five, empty), absl::StrCat(key, both)}) {
    EXPECT_TRUE(ExpectSameVerdict(Delimited(4, entry)));
    EXPECT_TRUE(ExpectSameVerdict(Delimited(4, key + six) + Delimited(4, entry)));
  }
}

TEST(InferMessageTest, UnknownFieldsAndGroupsAreSkipped) {
  const std::string unknown = Varint(100, 1) + Delimited(101, "abc") + Group(102, Varint(1, 2)) +
                              Group(1, Group(1, "") + Delimited(7, "x"));
  EXPECT_TRUE(ExpectSameVerdict(unknown + Delimited(1, "digits") + unknown));
  EXPECT_TRUE(ExpectSameVerdict(Delimited(5, unknown + Delimited(5, unknown))));
  EXPECT_TRUE(ExpectSameVerdict(Delimited(4, unknown + Delimited(2, unknown))));
}

TEST(InferMessageTest, GroupsMustMatch) {
  EXPECT_FALSE(ExpectSameVerdict("\x0b"));                         // begins, does not end
  EXPECT_FALSE(ExpectSameVerdict("\x0c"));                         // ends, did not begin
  EXPECT_FALSE(ExpectSameVerdict("\x0b\x14"));                     // ends as another
  EXPECT_FALSE(ExpectSameVerdict("\x0b" + Delimited(5, "\x0c")));  // ends inside
}

TEST(InferMessageTest, AFieldOfTheWrongWireTypeIsUnknown) {
  EXPECT_TRUE(ExpectSameVerdict(Varint(1, 5) + Varint(7, 5) + Varint(5, 1) + Delimited(1, "d")));
}

TEST(InferMessageTest, NestingIsBoundedAsInProtobuf) {
  for (const int depth : {1, 99, 100, 101, 5000}) {
    std::string groups;
    for (int i = 0; i < depth; ++i) groups = Group(9, groups);
    EXPECT_EQ(ExpectSameVerdict(groups), depth <= 100) << depth;
    EXPECT_EQ(ExpectSameVerdict(Delimited(5, groups)), depth <= 99) << depth;
  }
}

TEST(InferMessageTest, OverlongNumbersAreJudgedAlike) {
  const std::string ten("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10);
  const std::string ten_full("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
  const std::string eleven("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11);
  EXPECT_TRUE(ExpectSameVerdict(Delimited(5, "\x18" + ten)));
  EXPECT_TRUE(ExpectSameVerdict(Delimited(5, "\x18" + ten_full)));
  EXPECT_FALSE(ExpectSameVerdict(Delimited(5, "\x18" + eleven)));
  // As a length, and as a tag, at most five bytes.
  EXPECT_TRUE(ExpectSameVerdict(std::string("\x0a\x81\x80\x80\x80\x00", 6) + "d"));
  EXPECT_FALSE(ExpectSameVerdict("\x0a" + ten + "d"));
  EXPECT_TRUE(ExpectSameVerdict(std::string("\x8a\x80\x80\x80\x00\x01", 6) + "d"));
  EXPECT_FALSE(ExpectSameVerdict(std::string("\x8a\x80\x80\x80\x80\x00\x01", 7) + "d"));
  EXPECT_FALSE(ExpectSameVerdict(std::string("\x0a\xff\xff\xff\xff\x0f", 6)));
}

TEST(InferMessageTest, StringsMustBeUtf8AndBytesNeedNot) {
  for (const std::string& text :
       {std::string("\xff"), std::string("\xc0\x80"), std::string("\xed\xa0\x80"),
        std::string("\xf4\x90\x80\x80"), std::string("\xe2\x82")}) {
    EXPECT_FALSE(ExpectSameVerdict(Delimited(1, text)));
    EXPECT_FALSE(ExpectSameVerdict(Delimited(4, Delimited(1, text))));
    EXPECT_FALSE(ExpectSameVerdict(Delimited(4, Delimited(2, Delimited(3, text)))));
    EXPECT_TRUE(ExpectSameVerdict(Delimited(7, text)));
    EXPECT_TRUE(ExpectSameVerdict(Delimited(5, Delimited(5, Delimited(8, text)))));
  }
}

TEST(InferMessageTest, ManyTensorsAreCountedAndNotKept) {
  const std::string one_of_each = Delimited(5, "") + Delimited(6, "") + Delimited(7, "a");
  std::string bytes;
  for (int i = 0; i < 100000; ++i) bytes += one_of_each;
  InferMessage message;
  const Bytes whole = AsBytes(bytes);
  ASSERT_TRUE(ParseInferMessage({&whole, 1}, &message).ok());
  EXPECT_EQ(message.inputs, 100000u);
  EXPECT_EQ(message.outputs, 100000u);
  EXPECT_EQ(message.raw_inputs, 100000u);
  EXPECT_EQ(message.raw_input.size(), 1u);
}

TEST(InferMessageTest, AnErrorSaysWhereAndWhy) {
  const std::string bytes = Delimited(1, "digits") + "\x0a\x05x";
  const Bytes whole = AsBytes(bytes);
  InferMessage message;
  const absl::Status status = ParseInferMessage({&whole, 1}, &message);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "malformed ModelInferRequest: a field reaches past the end of its message "
            "(in model_name, near byte 10)");
}

absl::Status StatusOf(const std::string& bytes) {
  const Bytes whole = AsBytes(bytes);
  InferMessage message;
  return ParseInferMessage({&whole, 1}, &message);
}

TEST(InferMessageTest, AnErrorNamesItsFieldAtEveryDepth) {
  const auto message = [](const std::string& bytes) {
    return std::string(StatusOf(bytes).message());
  };
  EXPECT_THAT(message(Delimited(1, "\xff")), testing::HasSubstr("UTF-8 (in model_name,"));
  EXPECT_THAT(message(Delimited(5, Delimited(1, "\xc3"))),
              testing::HasSubstr("UTF-8 (in inputs.name,"));
  EXPECT_THAT(message(Delimited(5, Delimited(4, Delimited(2, Delimited(3, "\x80"))))),
              testing::HasSubstr("UTF-8 (in inputs.parameters.value.string_param,"));
  EXPECT_THAT(message(Delimited(5, Delimited(5, Delimited(6, "abc")))),
              testing::HasSubstr("(in inputs.contents.fp32_contents,"));
  EXPECT_THAT(message(Delimited(9, "x") + "\x4a\x7f"), testing::HasSubstr("(in field 9,"));
  EXPECT_THAT(message(Delimited(1, "a") + std::string(1, '\0')),
              testing::HasSubstr("a field has number 0 (near byte"));
}

TEST(InferMessageTest, ATagOfMoreThan32BitsIsNoOther) {
  // Cut to 32 bits it would be that of model_name.
  EXPECT_THAT(std::string(StatusOf("\x8a\x80\x80\x80\x10\x01x").message()),
              testing::HasSubstr("a tag has more than 32 bits"));
}

// Bytes that look like messages: the field numbers of the protocol at every level, right and wrong
// wire types, words that mean something.
class RandomBytes {
 public:
  explicit RandomBytes(uint64_t seed) : random_(seed) {}

  size_t Below(size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random_);
  }

  std::string Fields(int depth) {
    std::string out;
    for (size_t i = Below(5); i > 0; --i) out += Field(depth);
    return out;
  }

  std::string Mutated(std::string bytes) {
    for (size_t i = Below(3); i > 0 && !bytes.empty(); --i) {
      const size_t at = Below(bytes.size());
      if (Below(3) == 0) {
        bytes.erase(at, 1 + Below(3));
      } else if (Below(2) == 0) {
        bytes.insert(at, 1, static_cast<char>(Below(256)));
      } else {
        bytes[at] = static_cast<char>(Below(256));
      }
    }
    return bytes;
  }

  std::vector<Bytes> Split(const std::string& bytes) {
    std::vector<Bytes> pieces;
    Bytes rest = AsBytes(bytes);
    while (!rest.empty()) {
      const size_t part = Below(std::min<size_t>(rest.size(), 12) + 1);
      pieces.push_back(rest.first(part));
      rest = rest.subspan(part);
    }
    return pieces;
  }

 private:
  std::string Field(int depth) {
    const auto field = static_cast<uint32_t>(Below(40) == 0 ? Below(200) : 1 + Below(8));
    switch (Below(10)) {
      case 0:
        return Varint(field, Below(2) == 0 ? Below(4) : random_());
      case 1:
        return Group(field, depth > 0 ? Fields(depth - 1) : "");
      case 2: {
        std::string out;
        const bool wide = Below(2) == 0;
        AppendVarint(WireTag(field, wide ? WireType::kFixed64 : WireType::kFixed32), &out);
        return out + std::string(wide ? 8 : 4, static_cast<char>(Below(256)));
      }
      case 3:
      case 4:
        return Delimited(field, Word());
      default:
        return Delimited(field, depth > 0 ? Fields(depth - 1) : "");
    }
  }

  std::string Word() {
    static const char* const kWords[] = {"timeout",
                                         "priority",
                                         "sequence_id",
                                         "triton_enable_empty_final_response",
                                         "triton_x",
                                         "other",
                                         "\xc3\xb6",
                                         "shared_memory_offset",
                                         "shared_memory_region",
                                         "sequence_end",
                                         "\x01\x02",
                                         "",
                                         "\xff",
                                         "\0\0\x80?",
                                         "sequence_x",
                                         "12345678",
                                         "shared_memory_byte_size"};
    return kWords[Below(std::size(kWords))];
  }

  std::mt19937_64 random_;
};

TEST(InferMessageTest, RandomMessagesAreJudgedAndReadAlike) {
  constexpr uint64_t kSeed = 20261121;
  RandomBytes random(kSeed);
  InferMessage message;
  int valid = 0;
  constexpr int kMessages = 100000;
  for (int i = 0; i < kMessages && !testing::Test::HasFailure(); ++i) {
    std::string bytes = random.Fields(4);
    if (random.Below(3) == 0) bytes = random.Mutated(bytes);
    valid += ExpectSameVerdict(bytes, random.Split(bytes), &message) ? 1 : 0;
  }
  RecordProperty("seed", std::to_string(kSeed));
  EXPECT_GT(valid, kMessages / 10);
  EXPECT_GT(kMessages - valid, kMessages / 10);
}

}  // namespace
}  // namespace mlpserve
