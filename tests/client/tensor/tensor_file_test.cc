#include "client/tensor/tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/source_folder.h"

namespace mlpserve::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Temporary(const std::string& name) { return ::testing::TempDir() + "/" + name; }

std::string ErrorOf(const TensorPath& path, std::string_view otherwise = "") {
  const absl::StatusOr<Tensor> tensor = ReadTensor(path, otherwise);
  EXPECT_FALSE(tensor.ok());
  return std::string(tensor.status().message());
}

const std::string kDigits = SourceFolder() + "/deploy/models/digits/test.safetensors";

TEST(TensorPath, OnlyAColonBehindSafetensorsSeparates) {
  EXPECT_EQ(TensorPath::Parse("a:b/test.safetensors:x").file, "a:b/test.safetensors");
  EXPECT_EQ(TensorPath::Parse("a:b/test.safetensors:x").tensor, "x");
  EXPECT_EQ(TensorPath::Parse("a:b.npy").file, "a:b.npy");
  EXPECT_EQ(TensorPath::Parse("a:b.npy").tensor, "");
  EXPECT_EQ(TensorPath::Parse("c.safetensors").tensor, "");
}

TEST(TensorFile, TheEndingTellsTheFormat) {
  EXPECT_EQ(FormatOf("a.safetensors"), FileFormat::kSafetensors);
  EXPECT_EQ(FormatOf("a.npy"), FileFormat::kNpy);
  EXPECT_EQ(FormatOf("a.csv"), FileFormat::kCsv);
  EXPECT_EQ(FormatOf("a.npz"), std::nullopt);
  EXPECT_EQ(FormatOf(".csv"), std::nullopt);
  EXPECT_THAT(ErrorOf({"a.npz", ""}), HasSubstr("ends with .safetensors, .npy or .csv"));
}

TEST(TensorFile, ReadsTheNamedTensorOrTheOneThatIsExpected) {
  EXPECT_EQ(Describe(ReadTensor({kDigits, "label"}, "x").value()), "INT32 [450]");
  EXPECT_EQ(Describe(ReadTensor({kDigits, ""}, "x").value()), "FP32 [450,64]");
  EXPECT_EQ(Describe(ReadTensor({kDigits, "logits64"}, "").value()), "FP64 [450,10]");
  EXPECT_THAT(
      ErrorOf({kDigits, "y"}),
      AllOf(HasSubstr(kDigits), HasSubstr("expected a tensor 'y', found label, logits64, x")));
}

TEST(TensorFile, EveryFormatGivesBackWhatWasWritten) {
  const std::vector<float> values = {0.1f, 2, -3, 4e-20f, 5, 6};
  const Tensor tensor = FromFloats(values, {2, 3}, ElementType::kFp32);
  for (const char* name : {"round_trip.safetensors", "round_trip.npy", "round_trip.csv"}) {
    const std::string file = Temporary(name);
    ASSERT_TRUE(WriteTensor(file, "y", tensor).ok());
    const absl::StatusOr<Tensor> back = ReadTensor({file, ""}, "another");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(Describe(*back), "FP32 [2,3]");
    EXPECT_EQ(back->bytes, tensor.bytes);
    std::remove(file.c_str());
  }
}

TEST(TensorFile, AFileThatIsNotThereOrNotReadableIsNamed) {
  EXPECT_THAT(ErrorOf({"/nowhere/a.csv", ""}),
              AllOf(HasSubstr("/nowhere/a.csv"), HasSubstr("No such file")));
  EXPECT_THAT(ErrorOf({"/nowhere/a.safetensors", ""}), HasSubstr("/nowhere/a.safetensors"));
  EXPECT_THAT(ErrorOf({"/nowhere/a.npy", "x"}), HasSubstr("expected a .safetensors file"));
}

TEST(TensorFile, ABrokenFileIsNamed) {
  const std::string file = Temporary("broken.csv");
  std::ofstream(file) << "1,2\n3\n";
  EXPECT_THAT(ErrorOf({file, ""}), AllOf(HasSubstr(file), HasSubstr("line 2")));
  std::remove(file.c_str());
}

TEST(TensorFile, WritingWhereItCannotBeWrittenIsAnError) {
  const Tensor tensor = FromFloats(std::vector<float>{1}, {1}, ElementType::kFp32);
  for (const char* file : {"/nowhere/a.csv", "/nowhere/a.npy", "/nowhere/a.safetensors"}) {
    const absl::Status status = WriteTensor(file, "y", tensor);
    EXPECT_THAT(std::string(status.message()), HasSubstr(file));
  }
  const std::string full = Temporary("full.csv");
  std::filesystem::create_symlink("/dev/full", full);
  EXPECT_THAT(std::string(WriteTensor(full, "y", tensor).message()), HasSubstr("No space left"));
  std::remove(full.c_str());
}

}  // namespace
}  // namespace mlpserve::client
