#include "server/transport/infer_check.h"

#include <functional>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "kernels/spec/epilogue.h"
#include "proto/open_inference.pb.h"

namespace mlpserve {
namespace {

using inference::ModelInferRequest;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// Block "b": input "x" [rows, 4], output "y" [rows, 2], FP32, 3 priority levels.
BlockConfig Block() {
  BlockConfig block;
  block.name = "b";
  block.input = {.name = "x", .datatype = DataType::kFp32, .features = 4};
  block.output = {.name = "y", .datatype = DataType::kFp32, .features = 2};
  block.batching.max_rows = 8;
  block.batching.max_queued_rows = 100;
  block.batching.priority_levels = 3;
  return block;
}

ModelInferRequest GoodRequest() {
  ModelInferRequest request;
  auto* input = request.add_inputs();
  input->set_name("x");
  input->set_datatype("FP32");
  input->add_shape(2);
  input->add_shape(4);
  request.add_raw_input_contents(std::string(32, 'x'));
  return request;
}

struct Checked {
  explicit Checked(const ModelInferRequest& request, const BlockConfig& block = Block())
      : bytes(request.SerializeAsString()) {
    const Bytes whole(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
    status = ParseInferMessage({&whole, 1}, &message);
    if (!status.ok()) return;
    const auto result = CheckInfer(message, block);
    status = result.status();
    if (result.ok()) terms = *result;
  }
  Checked(const Checked&) = delete;

  std::string bytes;
  InferMessage message;
  absl::Status status;
  InferTerms terms;
};

using Change = std::function<void(ModelInferRequest*)>;

std::string ErrorOf(const Change& change, const BlockConfig& block = Block()) {
  ModelInferRequest request = GoodRequest();
  change(&request);
  const Checked checked(request, block);
  EXPECT_TRUE(absl::IsInvalidArgument(checked.status)) << checked.status;
  return std::string(checked.status.message());
}

TEST(InferCheckTest, AGoodRequestGivesItsTerms) {
  ModelInferRequest request = GoodRequest();
  (*request.mutable_parameters())["timeout"].set_int64_param(7);
  (*request.mutable_parameters())["priority"].set_int64_param(3);
  const Checked checked(request);
  ASSERT_TRUE(checked.status.ok()) << checked.status;
  EXPECT_EQ(checked.terms.rows, 2);
  ASSERT_EQ(checked.terms.input.size(), 1u);
  EXPECT_EQ(checked.terms.input[0].size(), 32u);
  EXPECT_EQ(checked.terms.priority, 3);
  EXPECT_EQ(checked.terms.queue_timeout, std::chrono::microseconds(7));
}

TEST(InferCheckTest, AHugeTimeoutIsAYear) {
  ModelInferRequest request = GoodRequest();
  (*request.mutable_parameters())["timeout"].set_int64_param(std::numeric_limits<int64_t>::max());
  const Checked checked(request);
  ASSERT_TRUE(checked.status.ok()) << checked.status;
  EXPECT_EQ(checked.terms.queue_timeout, std::chrono::hours(24 * 365));
}

TEST(InferCheckTest, InputsMustBeTheBlocks) {
  EXPECT_EQ(ErrorOf([](auto* r) { r->clear_inputs(); }),
            "block \"b\": expected 1 input, \"x\", found 0");
  EXPECT_EQ(ErrorOf([](auto* r) { r->add_inputs(); }),
            "block \"b\": expected 1 input, \"x\", found 2");
  EXPECT_EQ(ErrorOf([](auto* r) { r->mutable_inputs(0)->set_name("X"); }),
            "block \"b\": expected input \"x\", found \"X\"");
  EXPECT_EQ(ErrorOf([](auto* r) { r->mutable_inputs(0)->set_datatype("FP16"); }),
            "block \"b\": input \"x\": expected datatype FP32, found \"FP16\"");
}

TEST(InferCheckTest, ALongNameIsCutInTheMessageBetweenCharacters) {
  std::string name = "n";
  for (int i = 0; i < 1000; ++i) name += "\xc3\xb6";
  const std::string error = ErrorOf([&](auto* r) { r->mutable_inputs(0)->set_name(name); });
  EXPECT_EQ(error, "block \"b\": expected input \"x\", found \"" + name.substr(0, 63) +
                       "...\" (2001 bytes)");
}

TEST(InferCheckTest, TheShapeMustBeRowsByFeatures) {
  const std::string expected =
      "block \"b\": input \"x\": expected shape [rows, 4] with 1 row or more, found ";
  const auto with_shape = [](const std::vector<int64_t>& shape) {
    return [shape](ModelInferRequest* r) {
      r->mutable_inputs(0)->clear_shape();
      for (const int64_t dim : shape) r->mutable_inputs(0)->add_shape(dim);
    };
  };
  EXPECT_EQ(ErrorOf(with_shape({})), expected + "[]");
  EXPECT_EQ(ErrorOf(with_shape({8})), expected + "[8]");
  EXPECT_EQ(ErrorOf(with_shape({0, 4})), expected + "[0, 4]");
  EXPECT_EQ(ErrorOf(with_shape({-1, 4})), expected + "[-1, 4]");
  EXPECT_EQ(ErrorOf(with_shape({4, 2})), expected + "[4, 2]");
  EXPECT_EQ(ErrorOf(with_shape({2, 4, 1})), expected + "[2, 4, 1]");
  EXPECT_EQ(ErrorOf(with_shape(std::vector<int64_t>(20, 1))),
            expected + "[1, 1, 1, 1, 1, 1, 1, 1, ...]");
  // 2^62 rows of 4 values of 4 bytes would overflow.
  EXPECT_EQ(ErrorOf(with_shape({int64_t{1} << 62, 4})),
            "block \"b\": input \"x\": expected at most 100 rows (max_queued_rows, "
            "max_queued_bytes), found 4611686018427387904");
}

TEST(InferCheckTest, RowsThatCouldNeverBeQueuedAreRefused) {
  const auto three_rows = [](ModelInferRequest* r) {
    r->mutable_inputs(0)->set_shape(0, 3);
    r->set_raw_input_contents(0, std::string(48, 'x'));
  };
  BlockConfig block = Block();
  block.batching.max_queued_rows = 2;
  EXPECT_NE(ErrorOf(three_rows, block).find("expected at most 2 rows"), std::string::npos);
  block = Block();
  block.batching.max_queued_bytes = 47;
  EXPECT_NE(ErrorOf(three_rows, block).find("expected at most 2 rows"), std::string::npos);
}

TEST(InferCheckTest, RowsWhoseResultsFillMoreThanAMessageAreRefused) {
  BlockConfig block = Block();
  block.output.features = int64_t{1} << 24;
  const auto many_rows = [](ModelInferRequest* r) {
    r->mutable_inputs(0)->set_shape(0, 32);
    r->set_raw_input_contents(0, std::string(512, 'x'));
  };
  EXPECT_EQ(ErrorOf(many_rows, block),
            "block \"b\": output \"y\": expected at most 31 rows, as a message holds 2 GiB, "
            "found 32");
}

TEST(InferCheckTest, BatchStatisticsNeedSomeRowsAndNotTooMany) {
  BlockConfig block = Block();
  block.layers.resize(1);
  block.layers[0].epilogue.ops.push_back({BatchNorm{}});
  ASSERT_TRUE(UsesBatchStatistics(block));
  const auto with_rows = [](int64_t rows) {
    return [rows](ModelInferRequest* r) {
      r->mutable_inputs(0)->set_shape(0, rows);
      r->set_raw_input_contents(0, std::string(static_cast<size_t>(rows) * 16, 'x'));
    };
  };
  const std::string expected =
      "block \"b\": input \"x\": expected 2 to 8 rows (max_rows), over which the block computes "
      "its statistics, found ";
  EXPECT_EQ(ErrorOf(with_rows(1), block), expected + "1");
  EXPECT_EQ(ErrorOf(with_rows(9), block), expected + "9");
  EXPECT_TRUE(Checked(GoodRequest(), block).status.ok());
}

TEST(InferCheckTest, RawBytesMustBeTheShapes) {
  EXPECT_EQ(ErrorOf([](auto* r) { r->set_raw_input_contents(0, std::string(31, 'x')); }),
            "block \"b\": input \"x\": expected 32 bytes for shape [2, 4], found 31");
  EXPECT_EQ(ErrorOf([](auto* r) { r->set_raw_input_contents(0, std::string(33, 'x')); }),
            "block \"b\": input \"x\": expected 32 bytes for shape [2, 4], found 33");
  EXPECT_EQ(ErrorOf([](auto* r) { r->add_raw_input_contents("more"); }),
            "block \"b\": expected 1 entry of raw_input_contents, for input \"x\", found 2");
}

TEST(InferCheckTest, TypedContentsMustBeFloatsOfTheRightNumber) {
  EXPECT_EQ(
      ErrorOf([](auto* r) { r->clear_raw_input_contents(); }),
      "block \"b\": input \"x\": expected raw_input_contents or fp32_contents for shape [2, 4], "
      "found neither");
  EXPECT_EQ(ErrorOf([](auto* r) {
              r->clear_raw_input_contents();
              r->mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
            }),
            "block \"b\": input \"x\": expected 8 values for shape [2, 4], found 1");
  EXPECT_EQ(ErrorOf([](auto* r) {
              r->clear_raw_input_contents();
              r->mutable_inputs(0)->mutable_contents()->add_fp64_contents(1);
            }),
            "block \"b\": input \"x\": expected fp32_contents, found fp64_contents");
  EXPECT_EQ(ErrorOf([](auto* r) { r->mutable_inputs(0)->mutable_contents(); }),
            "block \"b\": input \"x\": expected either contents or raw_input_contents, found both");
}

TEST(InferCheckTest, HalfPrecisionComesRaw) {
  BlockConfig block = Block();
  block.input.datatype = DataType::kFp16;
  ModelInferRequest request = GoodRequest();
  request.mutable_inputs(0)->set_datatype("FP16");
  request.set_raw_input_contents(0, std::string(16, 'x'));
  EXPECT_TRUE(Checked(request, block).status.ok());
  EXPECT_EQ(ErrorOf(
                [](auto* r) {
                  r->mutable_inputs(0)->set_datatype("FP16");
                  r->clear_raw_input_contents();
                  r->mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
                },
                block),
            "block \"b\": input \"x\": expected raw_input_contents, as datatype FP16 has no typed "
            "contents, found contents");
}

TEST(InferCheckTest, OutputsMayBeNoneOrTheBlocks) {
  ModelInferRequest request = GoodRequest();
  request.add_outputs()->set_name("y");
  EXPECT_TRUE(Checked(request).status.ok());
  EXPECT_EQ(ErrorOf([](auto* r) { r->add_outputs()->set_name("z"); }),
            "block \"b\": expected output \"y\", found \"z\"");
  EXPECT_EQ(ErrorOf([](auto* r) {
              r->add_outputs()->set_name("y");
              r->add_outputs()->set_name("y");
            }),
            "block \"b\": expected at most 1 output, \"y\", found 2");
}

TEST(InferCheckTest, ClassesAreNotOffered) {
  EXPECT_EQ(
      ErrorOf([](auto* r) {
        auto* output = r->add_outputs();
        output->set_name("y");
        (*output->mutable_parameters())["classification"].set_int64_param(3);
      }),
      "block \"b\": output \"y\": parameter \"classification\" found, but tensors are sent and "
      "answered as their values");
}

using Parameters = google::protobuf::Map<std::string, inference::InferParameter>;

void Share(const std::string& region, int64_t bytes, int64_t offset, Parameters* parameters) {
  (*parameters)["shared_memory_region"].set_string_param(region);
  (*parameters)["shared_memory_byte_size"].set_int64_param(bytes);
  if (offset != 0) (*parameters)["shared_memory_offset"].set_int64_param(offset);
}

// Its input in the 32 bytes from 8 on of "in", its output in the first 20 of "out".
ModelInferRequest SharedRequest() {
  ModelInferRequest request = GoodRequest();
  request.clear_raw_input_contents();
  Share("in", 32, 8, request.mutable_inputs(0)->mutable_parameters());
  request.add_outputs()->set_name("y");
  Share("out", 20, 0, request.mutable_outputs(0)->mutable_parameters());
  return request;
}

TEST(InferCheckTest, TensorsMayLieInSharedMemory) {
  const Checked checked(SharedRequest());
  ASSERT_TRUE(checked.status.ok()) << checked.status;
  EXPECT_TRUE(checked.terms.input.empty());
  EXPECT_EQ(checked.terms.shared_input.region, "in");
  EXPECT_EQ(checked.terms.shared_input.offset, 8u);
  EXPECT_EQ(checked.terms.shared_input.bytes, 32u);
  EXPECT_EQ(checked.terms.shared_output.region, "out");
  EXPECT_EQ(checked.terms.shared_output.offset, 0u);
  EXPECT_EQ(checked.terms.shared_output.bytes, 20u) << "more than needed is no error";
}

TEST(InferCheckTest, OneTensorMayLieInSharedMemoryAndTheOtherInTheMessage) {
  ModelInferRequest request = SharedRequest();
  request.mutable_outputs(0)->clear_parameters();
  const Checked input(request);
  ASSERT_TRUE(input.status.ok()) << input.status;
  EXPECT_TRUE(input.terms.shared_input.is_shared());
  EXPECT_FALSE(input.terms.shared_output.is_shared());
  request = SharedRequest();
  request.mutable_inputs(0)->clear_parameters();
  request.add_raw_input_contents(std::string(32, 'x'));
  const Checked output(request);
  ASSERT_TRUE(output.status.ok()) << output.status;
  EXPECT_FALSE(output.terms.shared_input.is_shared());
  EXPECT_EQ(output.terms.input[0].size(), 32u);
  EXPECT_TRUE(output.terms.shared_output.is_shared());
}

TEST(InferCheckTest, SharedMemoryExcludesValues) {
  const std::string expected =
      "block \"b\": input \"x\": expected no values beside shared memory, found ";
  ModelInferRequest request = SharedRequest();
  request.add_raw_input_contents("");
  EXPECT_EQ(Checked(request).status.message(), expected + "raw_input_contents");
  request = SharedRequest();
  request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  EXPECT_EQ(Checked(request).status.message(), expected + "contents");
}

std::string SharedError(const std::function<void(Parameters*)>& change, bool of_output = false) {
  ModelInferRequest request = SharedRequest();
  change(of_output ? request.mutable_outputs(0)->mutable_parameters()
                   : request.mutable_inputs(0)->mutable_parameters());
  const Checked checked(request);
  EXPECT_TRUE(absl::IsInvalidArgument(checked.status)) << checked.status;
  return std::string(checked.status.message());
}

TEST(InferCheckTest, SharedMemoryHasExactlyTheInputsBytesAndAtLeastTheOutputs) {
  const std::string size = "parameter \"shared_memory_byte_size\": expected ";
  for (const int64_t bytes : {int64_t{0}, int64_t{31}, int64_t{33}, kMax}) {
    const auto set = [&](auto* p) { (*p)["shared_memory_byte_size"].set_int64_param(bytes); };
    EXPECT_EQ(SharedError(set), "block \"b\": input \"x\": " + size +
                                    "32 bytes for shape [2, 4], found " + std::to_string(bytes));
  }
  for (const int64_t bytes : {0, 15}) {
    const auto set = [&](auto* p) { (*p)["shared_memory_byte_size"].set_int64_param(bytes); };
    EXPECT_EQ(SharedError(set, true), "block \"b\": output \"y\": " + size +
                                          "at least 16 bytes for shape [2, 2], found " +
                                          std::to_string(bytes));
  }
}

TEST(InferCheckTest, ParametersOfSharedMemoryAreOfTheirTypes) {
  const std::string tensor = "block \"b\": input \"x\": parameter ";
  const std::string region = tensor + "\"shared_memory_region\": expected a name, found ";
  EXPECT_EQ(SharedError([](auto* p) { (*p)["shared_memory_region"].set_int64_param(1); }),
            region + "int64");
  EXPECT_EQ(SharedError([](auto* p) { (*p)["shared_memory_region"].set_string_param(""); }),
            region + "an empty one");
  EXPECT_EQ(SharedError([](auto* p) { p->erase("shared_memory_region"); }), region + "absent");
  EXPECT_EQ(SharedError([](auto* p) { (*p)["shared_memory_region"].Clear(); }),
            region + "no value");
  for (const std::string key : {"shared_memory_byte_size", "shared_memory_offset"}) {
    const std::string expected = tensor + "\"" + key + "\": expected ";
    EXPECT_EQ(SharedError([&](auto* p) { (*p)[key].set_string_param("32"); }),
              expected + "int64, found string");
    EXPECT_EQ(SharedError([&](auto* p) { (*p)[key].set_double_param(32); }),
              expected + "int64, found double");
    EXPECT_EQ(SharedError([&](auto* p) { (*p)[key].set_int64_param(-1); }),
              expected + "0 or more, found -1");
  }
  EXPECT_EQ(SharedError([](auto* p) { p->erase("shared_memory_byte_size"); }),
            tensor + "\"shared_memory_byte_size\": expected int64, found absent");
}

// Whether the region reaches so far is the registry's to say.
TEST(InferCheckTest, OffsetsMayBeAnything) {
  ModelInferRequest request = SharedRequest();
  auto& parameters = *request.mutable_inputs(0)->mutable_parameters();
  parameters["shared_memory_offset"].set_uint64_param(~uint64_t{0});
  const Checked checked(request);
  ASSERT_TRUE(checked.status.ok()) << checked.status;
  EXPECT_EQ(checked.terms.shared_input.offset, ~uint64_t{0});
}

TEST(InferCheckTest, ParametersMustBeOfTheirTypeAndRange) {
  const auto with = [](const char* key,
                       const std::function<void(inference::InferParameter*)>& set) {
    return [=](ModelInferRequest* r) { set(&(*r->mutable_parameters())[key]); };
  };
  EXPECT_EQ(ErrorOf(with("timeout", [](auto* p) { p->set_string_param("1"); })),
            "block \"b\": parameter \"timeout\": expected int64 (microseconds), found string");
  EXPECT_EQ(ErrorOf(with("timeout", [](auto*) {})),
            "block \"b\": parameter \"timeout\": expected int64 (microseconds), found no value");
  EXPECT_EQ(ErrorOf(with("timeout", [](auto* p) { p->set_int64_param(-1); })),
            "block \"b\": parameter \"timeout\": expected 0 or more, found -1");
  EXPECT_EQ(ErrorOf(with("priority", [](auto* p) { p->set_double_param(1); })),
            "block \"b\": parameter \"priority\": expected int64 or uint64, found double");
  EXPECT_EQ(ErrorOf(with("priority", [](auto* p) { p->set_bool_param(true); })),
            "block \"b\": parameter \"priority\": expected int64 or uint64, found bool");
  EXPECT_EQ(ErrorOf(with("priority", [](auto* p) { p->set_int64_param(-2); })),
            "block \"b\": parameter \"priority\": expected 0 or more, found -2");
  EXPECT_EQ(ErrorOf(with("priority", [](auto* p) { p->set_uint64_param(4); })),
            "block \"b\": parameter \"priority\": expected 0 to 3 (priority_levels), found 4");
}

TEST(InferCheckTest, ParametersThatWouldNeedStateAreRefused) {
  for (const char* key :
       {"sequence_id", "sequence_start", "sequence_end", "triton_request_cancellation"}) {
    const std::string error =
        ErrorOf([&](auto* r) { (*r->mutable_parameters())[key].set_int64_param(1); });
    EXPECT_NE(error.find(std::string("parameter \"") + key + "\" is not supported"),
              std::string::npos)
        << error;
  }
}

TEST(InferCheckTest, WithoutLevelsEveryPriorityIsAlike) {
  BlockConfig block = Block();
  block.batching.priority_levels = 0;
  ModelInferRequest request = GoodRequest();
  (*request.mutable_parameters())["priority"].set_uint64_param(77);
  const Checked checked(request, block);
  ASSERT_TRUE(checked.status.ok()) << checked.status;
  EXPECT_EQ(checked.terms.priority, 0);
}

}  // namespace
}  // namespace mlpserve
