#include "server/safetensors/file_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <thread>

#include "server/safetensors/writer.h"
#include "tests/server/temporary_folder.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FileTensorTest : public testing::Test {
 protected:
  template <typename T>
  void Write(TensorType type, const std::vector<T>& values) {
    const TensorToWrite before{.name = "before",
                               .type = TensorType::kU8,
                               .shape = {3},
                               .data = std::as_bytes(std::span("abc", 3))};
    const TensorToWrite tensor{.name = "w",
                               .type = type,
                               .shape = {static_cast<int64_t>(values.size())},
                               .data = std::as_bytes(std::span(values))};
    const std::vector<TensorToWrite> both = {before, tensor};
    EXPECT_EQ(WriteSafetensors(path_, both), absl::OkStatus());
  }

  absl::StatusOr<Tensor> Open(const std::string& name = "w") const {
    return FileTensor(
        std::make_shared<const SafetensorsReader>(SafetensorsReader::Open(path_).value()), name);
  }

  const TemporaryFolder folder_;
  const std::string path_ = folder_.path("w.safetensors");
};

TEST_F(FileTensorTest, HasTheTypeOfTheFile) {
  Write(TensorType::kF32, std::vector<float>{1, 2, INFINITY});
  EXPECT_EQ(Open()->type(), DataType::kFp32);
  EXPECT_THAT(Open()->ToFloats().value(), ElementsAre(1, 2, INFINITY));
  Write(TensorType::kF16, std::vector<uint16_t>{0x3c00, 0x7c00});
  EXPECT_EQ(Open()->type(), DataType::kFp16);
  EXPECT_THAT(Open()->ToFloats().value(), ElementsAre(1, INFINITY));
  Write(TensorType::kBf16, std::vector<uint16_t>{0x3f80, 0xff80});
  EXPECT_EQ(Open()->type(), DataType::kBf16);
  EXPECT_THAT(Open()->ToFloats().value(), ElementsAre(1, -INFINITY));
  Write(TensorType::kBf16, std::vector<uint16_t>{});
  EXPECT_THAT(Open()->ToFloats().value(), IsEmpty());
}

TEST_F(FileTensorTest, RoundsFp64ToFp32Once) {
  // More than is converted at a time, and an odd number.
  std::vector<double> values(300'001);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) / 3;
  Write(TensorType::kF64, values);
  const Tensor tensor = *Open();
  EXPECT_EQ(tensor.type(), DataType::kFp32);
  EXPECT_EQ(tensor.size(), 300'001);
  EXPECT_EQ(tensor.ToFloats().value(), std::vector<float>(values.begin(), values.end()));
  std::vector<float> part(2);
  EXPECT_TRUE(tensor.Read(299'999, part).ok());
  EXPECT_THAT(part, ElementsAre(static_cast<float>(299'999 / 3.0), static_cast<float>(1e5)));
}

TEST_F(FileTensorTest, IsReadFromSeveralThreadsAtOnce) {
  std::vector<float> values(400'000);
  std::iota(values.begin(), values.end(), 0.0f);
  Write(TensorType::kF32, values);
  const Tensor tensor = *Open();
  std::vector<float> read(values.size());
  std::vector<std::jthread> threads;
  for (int64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      EXPECT_TRUE(tensor.Read(i * 100'000, std::span(read).subspan(i * 100'000, 100'000)).ok());
    });
  }
  threads.clear();
  EXPECT_EQ(read, values);
}

TEST_F(FileTensorTest, DoesNotSeeTheFileThatReplacesItsOwn) {
  Write(TensorType::kF32, std::vector<float>{1, 2});
  const Tensor tensor = *Open();
  Write(TensorType::kF32, std::vector<float>{3});
  EXPECT_THAT(tensor.ToFloats().value(), ElementsAre(1, 2));
}

TEST_F(FileTensorTest, AFileThatIsShortenedGivesAnError) {
  for (const bool fp64 : {false, true}) {
    if (fp64) {
      Write(TensorType::kF64, std::vector<double>(1000));
    } else {
      Write(TensorType::kF32, std::vector<float>(1000));
    }
    const Tensor tensor = *Open();
    std::filesystem::resize_file(path_, 2000);
    const absl::Status status = tensor.ToFloats().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr("changed while it was read"));
    std::vector<float> first(1);
    EXPECT_TRUE(tensor.Read(0, first).ok());
  }
}

TEST_F(FileTensorTest, RefusesWhatIsNoWeight) {
  Write(TensorType::kI8, std::vector<int8_t>{1});
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Open().status().message()),
              HasSubstr("expected F64, F32, F16 or BF16, found I8"));
  EXPECT_EQ(Open("no").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mlpserve
