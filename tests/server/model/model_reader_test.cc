#include "server/model/model_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/model/finite_weights.h"
#include "server/safetensors/writer.h"
#include "tests/server/temporary_folder.h"

namespace mlpserve {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsNan;
using testing::SizeIs;

// x [rows, 3] -> hidden 4 -> y [rows, 2]
constexpr char kModel[] = R"({
  "input": {"name": "x", "features": 3, "datatype": "BF16"},
  "output": {"name": "y", "features": 2, "datatype": "FP16"},
  "compute": "BF16",
  "layers": [
    {"name": "up", "weight": "up.weight", "bias": "up.bias",
     "epilogue": [{"scale": {"tensor": "up.scale"}}, {"relu": {}}]},
    {"name": "down", "weight": "down.weight",
     "epilogue": [{"batch_norm": {"running_mean": "bn.mean", "running_var": "bn.var"}}]}],
  "batching": {"batch_invariant": true}
})";

using Shape = std::vector<int64_t>;

class ModelReaderTest : public testing::Test {
 protected:
  ModelReaderTest() {
    folder_.Write("m/model.json", kModel);
    folder_.Write("m/1/readme", "");
    Set("up.weight", {4, 3});
    Set("up.bias", {4});
    Set("up.scale", {4});
    Set("down.weight", {2, 4});
    Set("bn.mean", {2});
    Set("bn.var", {2});
  }

  void Set(const std::string& name, const Shape& shape) {
    size_t elements = 1;
    for (const int64_t dimension : shape) elements *= static_cast<size_t>(dimension);
    Set(name, shape, std::vector<float>(elements, 1.0f));
  }

  template <typename T>
  void Set(const std::string& name, const Shape& shape, const std::vector<T>& values,
           TensorType type = TensorType::kF32) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(values));
    tensors_[name] = {type, shape, std::vector<std::byte>(bytes.begin(), bytes.end())};
  }

  absl::StatusOr<BlockSpec> Read() {
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, tensor] : tensors_) {
      tensors.push_back({name, tensor.type, tensor.shape, tensor.data});
    }
    const absl::Status status = WriteSafetensors(weights(), tensors);
    if (!status.ok()) return status;
    const auto config = ReadConfig(folder_.path("m"));
    return config.ok() ? ReadBlock(*config, 1, options_) : config.status();
  }

  // Of reading the numbers of the first layer's weight, as a backend does.
  std::string ErrorOfWeight() {
    const absl::StatusOr<BlockSpec> block = Read();
    if (!block.ok()) return std::string(block.status().message());
    return std::string(block->layers[0].weight.ToFloats().status().message());
  }

  void SetCompute(const std::string& compute) {
    std::string model = kModel;
    const std::string before = "\"compute\": \"BF16\"";
    model.replace(model.find(before), before.size(), "\"compute\": \"" + compute + "\"");
    folder_.Write("m/model.json", model);
  }

  std::string ErrorOfRead() {
    const absl::Status status = Read().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder_.path("m")));
    return std::string(status.message());
  }

  std::string weights() const { return folder_.path("m/1/weights.safetensors"); }

  struct Tensor {
    TensorType type;
    Shape shape;
    std::vector<std::byte> data;
  };
  TemporaryFolder folder_;
  std::map<std::string, Tensor> tensors_;
  ReadOptions options_;
};

TEST_F(ModelReaderTest, GivesTheBlockAsItIsWritten) {
  Set("up.weight", {4, 3}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  const absl::StatusOr<BlockSpec> block = Read();
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->name, "m");
  EXPECT_EQ(block->input_type, DataType::kBf16);
  EXPECT_EQ(block->output_type, DataType::kFp16);
  EXPECT_EQ(block->compute, ComputeType::kBf16);
  EXPECT_TRUE(block->batch_invariant);
  ASSERT_THAT(block->layers, SizeIs(2));
  const LayerSpec& up = block->layers[0];
  EXPECT_EQ(up.name, "up");
  EXPECT_EQ(up.inputs, 3);
  EXPECT_EQ(up.outputs, 4);
  EXPECT_EQ(up.weight.type(), DataType::kFp32);
  EXPECT_THAT(up.weight.ToFloats().value(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_THAT(up.bias, SizeIs(4));
  EXPECT_THAT(up.epilogue.columns, ElementsAre(SizeIs(4)));
  EXPECT_THAT(block->layers[1].bias, IsEmpty());
  EXPECT_THAT(block->layers[1].epilogue.columns, ElementsAre(SizeIs(2), SizeIs(2)));
}

TEST_F(ModelReaderTest, ConvertsWeightsOfEveryFloatType) {
  Set("up.weight", {4, 3}, std::vector<double>(12, 1.0 / 3), TensorType::kF64);
  Set("up.bias", {4}, std::vector<uint16_t>(4, 0x3555), TensorType::kF16);
  Set("up.scale", {4}, std::vector<uint16_t>(4, 0x3EAB), TensorType::kBf16);
  const absl::StatusOr<BlockSpec> block = Read();
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_THAT(block->layers[0].weight.ToFloats().value(), Each(1.0f / 3));
  EXPECT_THAT(block->layers[0].bias, Each(0x1.554p-2f));
  EXPECT_THAT(block->layers[0].epilogue.columns[0], Each(0x1.56p-2f));
}

TEST_F(ModelReaderTest, KeepsWeightsInTheTypeOfTheFile) {
  Set("up.weight", {4, 3}, std::vector<uint16_t>(12, 0x3555), TensorType::kF16);
  Set("down.weight", {2, 4}, std::vector<uint16_t>(8, 0x3EAB), TensorType::kBf16);
  const absl::StatusOr<BlockSpec> block = Read();
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->layers[0].weight.type(), DataType::kFp16);
  EXPECT_THAT(block->layers[0].weight.ToFloats().value(), AllOf(SizeIs(12), Each(0x1.554p-2f)));
  EXPECT_EQ(block->layers[1].weight.type(), DataType::kBf16);
  EXPECT_THAT(block->layers[1].weight.ToFloats().value(), AllOf(SizeIs(8), Each(0x1.56p-2f)));
}

TEST_F(ModelReaderTest, RefusesNumbersThatAreNotFiniteByLayerTensorAndIndex) {
  std::vector<float> weight(12, 1.0f);
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    weight[7] = value;
    Set("up.weight", {4, 3}, weight);
    EXPECT_THAT(ErrorOfWeight(),
                AllOf(HasSubstr("layer \"up\": tensor \"up.weight\" (layers[0].weight): expected "
                                "numbers that are finite in BF16, found "),
                      HasSubstr(" at [2, 1] (--allow-non-finite")));
  }
  Set("up.weight", {4, 3});
  Set("up.bias", {4}, std::vector<float>{0, 0, NAN, 0});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("tensor \"up.bias\" (layers[0].bias): expected numbers that "
                                       "are finite in FP32, found nan at [2]"));
  Set("up.bias", {4});
  Set("bn.mean", {2}, std::vector<double>{0, 1e39}, TensorType::kF64);
  EXPECT_THAT(ErrorOfRead(), HasSubstr("found 1e+39 at [1]"));
  Set("bn.mean", {2}, std::vector<uint16_t>{0x7c00, 0}, TensorType::kF16);
  EXPECT_THAT(ErrorOfRead(), HasSubstr("found inf at [0]"));
}

TEST_F(ModelReaderTest, RefusesNumbersThatBecomeInfiniteInTheComputeType) {
  struct Case {
    const char* compute;
    double largest;   // that stays finite
    double smallest;  // that does not
  };
  constexpr double kMax = std::numeric_limits<float>::max();
  for (const Case& at : {Case{"FP32", kMax, 3.5e38},
                         {"TF32", 0x1.ffcp127, 0x1.ffep127},
                         {"BF16", 0x1.fep127, 0x1.ffp127},
                         {"FP16", 65519, 65520}}) {
    SetCompute(at.compute);
    for (const double sign : {1.0, -1.0}) {
      std::vector<double> weight(12, sign * at.largest);
      Set("up.weight", {4, 3}, weight, TensorType::kF64);
      EXPECT_EQ(ErrorOfWeight(), "") << at.compute;
      weight[11] = sign * at.smallest;
      Set("up.weight", {4, 3}, weight, TensorType::kF64);
      EXPECT_THAT(ErrorOfWeight(), HasSubstr(" at [3, 2]")) << at.compute;
    }
  }
  SetCompute("FP16");
  Set("up.weight", {4, 3}, std::vector<uint16_t>(12, 0x477f), TensorType::kBf16);  // 65280
  EXPECT_EQ(ErrorOfWeight(), "");
  Set("up.weight", {4, 3}, std::vector<uint16_t>(12, 0x4780), TensorType::kBf16);  // 65536
  EXPECT_THAT(ErrorOfWeight(), HasSubstr("found 65536 at [0, 0]"));
  Set("up.weight", {4, 3}, std::vector<uint16_t>(12, 0x7bff), TensorType::kF16);  // 65504
  EXPECT_EQ(ErrorOfWeight(), "");
}

TEST_F(ModelReaderTest, FindsTheOneNumberAmongMany) {
  constexpr int64_t kOutputs = 1000;
  for (const int64_t at : {0, 255, 256, 2998, 2999}) {
    std::vector<float> weight(3 * kOutputs, 1.0f);
    weight[static_cast<size_t>(at)] = NAN;
    EXPECT_EQ(FindNonFinite(weight, ComputeType::kFp32), at);
  }
  EXPECT_EQ(FindNonFinite(std::vector<float>(3 * kOutputs, -1.0f), ComputeType::kFp16),
            std::nullopt);
  EXPECT_EQ(FindNonFinite({}, ComputeType::kFp32), std::nullopt);
}

TEST_F(ModelReaderTest, TakesAScalarAsOneNumberForEveryColumn) {
  Set("up.scale", {}, std::vector<float>{3});
  Set("bn.mean", {}, std::vector<float>{2});
  const absl::StatusOr<BlockSpec> block = Read();
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_THAT(block->layers[0].epilogue.columns[0], AllOf(SizeIs(4), Each(3.0f)));
  Set("up.bias", {}, std::vector<float>{3});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("expected shape [4], found []"));
}

TEST_F(ModelReaderTest, SaysThatATensorIsThereUnderAnotherPrefix) {
  for (const char* prefix : {"module.", "_orig_mod.", "model.", "a.b."}) {
    const std::string name = prefix + std::string("down.weight");
    tensors_[name] = tensors_["down.weight"];
    tensors_.erase("down.weight");
    EXPECT_THAT(
        ErrorOfRead(),
        HasSubstr("tensor \"down.weight\" (layers[1].weight): expected in the file, found \"" +
                  name + "\", the same with the prefix \"" + prefix + "\""));
    tensors_["down.weight"] = tensors_[name];
    tensors_.erase(name);
  }
  tensors_["weight"] = tensors_["down.weight"];
  tensors_.erase("down.weight");
  EXPECT_THAT(ErrorOfRead(), HasSubstr("found \"weight\", the same without the prefix \"down.\""));
}

TEST_F(ModelReaderTest, NamesFilesOfOtherKinds) {
  const std::pair<std::string, const char*> kinds[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n", "Git LFS pointer"},
      {std::string("PK\x03\x04\x00\x00\x08\x08", 8) + "archive/data.pkl", "zip archive"},
      {"\x80\x02}q\x00.", "Python pickle"},
      {"\x80\x04\x95", "Python pickle"},
      {"\x89HDF\r\n\x1a\n", "HDF5"},
      {"<!DOCTYPE html><html>", "HTML page"},
  };
  for (const auto& [bytes, name] : kinds) {
    folder_.Write("m/1/weights.safetensors", bytes);
    const absl::Status status = ReadBlock(folder_.path("m"), 1).status();
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("weights.safetensors: expected a safetensors file, found "),
                      HasSubstr(name)));
  }
  folder_.Write("m/model.json", kinds[0].first);
  EXPECT_THAT(std::string(ReadConfig(folder_.path("m")).status().message()),
              HasSubstr("model.json: expected JSON, found a Git LFS pointer"));
}

TEST_F(ModelReaderTest, LetsNanAndInfinityOfWeightsPassWhereItIsToldTo) {
  options_.allow_non_finite = true;
  Set("up.weight", {4, 3}, std::vector<float>(12, NAN));
  Set("up.bias", {4}, std::vector<float>{NAN, INFINITY, -INFINITY, 0});
  Set("up.scale", {1}, std::vector<float>{NAN});
  const absl::StatusOr<BlockSpec> block = Read();
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_THAT(block->layers[0].bias, ElementsAre(IsNan(), INFINITY, -INFINITY, 0));
  EXPECT_THAT(block->layers[0].epilogue.columns[0], AllOf(SizeIs(4), Each(IsNan())));
}

TEST_F(ModelReaderTest, LeavesTensorsUnreadThatNobodyNames) {
  Set("optimiser.state", {7}, std::vector<int64_t>(7), TensorType::kI64);
  EXPECT_TRUE(Read().ok());
}

TEST_F(ModelReaderTest, NamesFileLayerAndTensorOfAWrongWeight) {
  Set("up.weight", {3, 4});
  EXPECT_EQ(ErrorOfRead(), weights() +
                               ": layer \"up\": tensor \"up.weight\" (layers[0].weight): "
                               "expected shape [N, 3], found [3, 4]");
  Set("up.weight", {12});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("expected shape [N, 3], found [12]"));
  Set("up.weight", {0, 3});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("expected shape [N, 3], found [0, 3]"));
}

TEST_F(ModelReaderTest, ChecksEachLayerAgainstTheOneBefore) {
  Set("down.weight", {2, 5});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("layer \"down\": tensor \"down.weight\" (layers[1].weight): "
                                       "expected shape [2, 4], found [2, 5]"));
}

TEST_F(ModelReaderTest, ChecksTheLastLayerAgainstTheOutput) {
  Set("down.weight", {3, 4});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("expected shape [2, 4], found [3, 4]"));
}

TEST_F(ModelReaderTest, ChecksBiasAndColumns) {
  Set("up.bias", {1});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("tensor \"up.bias\" (layers[0].bias): expected shape [4], "
                                       "found [1]"));
  Set("up.bias", {4});
  Set("up.scale", {3});
  EXPECT_THAT(ErrorOfRead(),
              HasSubstr("tensor \"up.scale\" (layers[0].epilogue[0].scale.tensor): expected shape "
                        "[4] or [1], found [3]"));
  Set("up.scale", {4, 1});
  EXPECT_THAT(ErrorOfRead(), HasSubstr("expected shape [4] or [1], found [4, 1]"));
  Set("up.scale", {1});
  Set("bn.var", {0});
  EXPECT_THAT(ErrorOfRead(),
              HasSubstr("layer \"down\": tensor \"bn.var\" (layers[1].epilogue[0].batch_norm."
                        "running_var): expected shape [2] or [1], found [0]"));
}

TEST_F(ModelReaderTest, NamesAMissingTensor) {
  tensors_.erase("bn.mean");
  EXPECT_THAT(ErrorOfRead(),
              HasSubstr("layer \"down\": tensor \"bn.mean\" (layers[1].epilogue[0].batch_norm."
                        "running_mean): expected in the file, found none of that name"));
}

TEST_F(ModelReaderTest, RefusesWeightsOfIntegers) {
  Set("up.weight", {4, 3}, std::vector<int8_t>(12), TensorType::kI8);
  EXPECT_THAT(ErrorOfRead(), HasSubstr("tensor \"up.weight\" (layers[0].weight): expected F64, "
                                       "F32, F16 or BF16, found I8"));
}

TEST_F(ModelReaderTest, RefusesWhatTheSpecRefuses) {
  Set("bn.var", {2}, std::vector<float>{1, -1});
  EXPECT_THAT(ErrorOfRead(), AllOf(HasSubstr("m version 1: "), HasSubstr("down"),
                                   HasSubstr("epilogue[0]"), HasSubstr("-1")));
}

TEST_F(ModelReaderTest, NamesAMissingVersionAndAMissingFile) {
  ASSERT_TRUE(Read().ok());
  const absl::Status missing = ReadBlock(folder_.path("m"), 2).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("m/2/weights.safetensors"));
  const absl::Status no_config = ReadBlock(folder_.path("n"), 1).status();
  EXPECT_EQ(no_config.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(no_config.message()), HasSubstr("n/model.json"));
}

TEST_F(ModelReaderTest, NamesTheFileOfABadModelJson) {
  const std::string path = folder_.Write("n/model.json", "{\"compute\": \"FP64\"}");
  EXPECT_THAT(std::string(ReadConfig(folder_.path("n")).status().message()),
              AllOf(HasSubstr(path + ": "), HasSubstr("FP64")));
}

TEST_F(ModelReaderTest, RefusesAModelJsonOver16MiB) {
  folder_.Write("n/model.json", std::string((size_t{16} << 20) + 1, ' '));
  EXPECT_THAT(std::string(ReadConfig(folder_.path("n")).status().message()),
              HasSubstr("expected at most 16777216 bytes, found 16777217"));
}

TEST_F(ModelReaderTest, NamesAnAddInputThatDoesNotFit) {
  folder_.Write("m/model.json", R"({"input": {"name": "x", "features": 3},
    "output": {"name": "y", "features": 4},
    "layers": [{"name": "up", "weight": "up.weight", "epilogue": [{"add_input": {}}]}]})");
  EXPECT_THAT(ErrorOfRead(), AllOf(HasSubstr("epilogue[0]"), HasSubstr("found 4")));
}

}  // namespace
}  // namespace mlpserve
