#include "server/transport/infer_response.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/support/slice.h"
#include "gtest/gtest.h"
#include "proto/open_inference.pb.h"

namespace mlpserve {
namespace {

// Rows in pieces of `piece_bytes`, whose leases are counted.
struct Rows {
  Rows(size_t bytes, size_t piece_bytes) : text(bytes, '\0') {
    for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 5 + i / 257);
    const auto all = std::as_bytes(std::span(text));
    for (size_t from = 0; from < bytes; from += piece_bytes) {
      const size_t size = std::min(piece_bytes, bytes - from);
      outputs.push_back({all.subspan(from, size), OutputLease(&Count, &released)});
    }
  }
  static void Count(void* released) { ++*static_cast<int*>(released); }

  std::string text;
  int released = 0;
  std::vector<OutputRows> outputs;
};

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

inference::ModelInferResponse Parsed(const grpc::ByteBuffer& buffer) {
  inference::ModelInferResponse response;
  EXPECT_TRUE(response.ParseFromString(BytesOf(buffer)));
  return response;
}

const TensorConfig kOutput{.name = "y", .datatype = DataType::kBf16, .features = 300};

TEST(InferResponseTest, TheGeneratedClassReadsEveryField) {
  Rows rows(1200, 1200);
  const auto response = Parsed(BuildInferResponse({.model_name = "digits",
                                                   .model_version = 12,
                                                   .id = "r\xc3\xb6w",
                                                   .output = kOutput,
                                                   .rows = 2},
                                                  rows.outputs));
  EXPECT_EQ(response.model_name(), "digits");
  EXPECT_EQ(response.model_version(), "12");
  EXPECT_EQ(response.id(), "r\xc3\xb6w");
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "y");
  EXPECT_EQ(response.outputs(0).datatype(), "BF16");
  EXPECT_THAT(response.outputs(0).shape(), testing::ElementsAre(2, 300));
  ASSERT_EQ(response.raw_output_contents_size(), 1);
  EXPECT_EQ(response.raw_output_contents(0), rows.text);
}

TEST(InferResponseTest, RowsInSharedMemoryAreToldOfAndNotSent) {
  const auto response = Parsed(
      BuildInferResponse({.model_name = "digits",
                          .model_version = 12,
                          .output = kOutput,
                          .rows = 2,
                          .shared = {.region = "r\xc3\xb6w", .offset = 1ull << 62, .bytes = 1200}},
                         {}));
  const auto& parameters = response.outputs(0).parameters();
  EXPECT_EQ(parameters.at("shared_memory_region").string_param(), "r\xc3\xb6w");
  EXPECT_EQ(parameters.at("shared_memory_byte_size").int64_param(), 1200);
  EXPECT_EQ(parameters.at("shared_memory_offset").int64_param(), int64_t{1} << 62);
  ASSERT_EQ(response.raw_output_contents_size(), 1);
  EXPECT_EQ(response.raw_output_contents(0), "");
}

TEST(InferResponseTest, TheBytesAreThoseThatProtobufWouldWrite) {
  Rows rows(40, 20);
  const auto buffer = BuildInferResponse(
      {.model_name = "m", .model_version = 1, .id = "", .output = kOutput, .rows = 1},
      rows.outputs);
  EXPECT_EQ(BytesOf(buffer), Parsed(buffer).SerializeAsString());
}

TEST(InferResponseTest, ShortRowsAreCopiedAndTheirBufferIsFreeAtOnce) {
  for (const size_t bytes : {size_t{1}, size_t{600}, kCopiedRowsBytes}) {
    Rows rows(bytes, 97);
    const auto buffer = BuildInferResponse(
        {.model_name = "m", .model_version = 1, .id = "i", .output = kOutput, .rows = 1},
        rows.outputs);
    const size_t pieces = rows.outputs.size();
    rows.outputs.clear();
    EXPECT_EQ(rows.released, static_cast<int>(pieces));
    const std::string expected = rows.text;
    rows.text.assign(rows.text.size(), 'x');
    EXPECT_EQ(Parsed(buffer).raw_output_contents(0), expected);
  }
}

TEST(InferResponseTest, LongRowsAreReferredToUntilTheMessageIsGone) {
  Rows rows(kCopiedRowsBytes + 1, 5000);
  {
    const auto buffer = BuildInferResponse(
        {.model_name = "m", .model_version = 1, .id = "i", .output = kOutput, .rows = 1},
        rows.outputs);
    rows.outputs.clear();
    EXPECT_EQ(rows.released, 0);
    EXPECT_EQ(Parsed(buffer).raw_output_contents(0), rows.text);
  }
  EXPECT_EQ(rows.released, 4);
}

}  // namespace
}  // namespace mlpserve
