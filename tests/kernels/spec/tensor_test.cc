#include "kernels/spec/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "kernels/spec/rounding.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsNan;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr DataType kTypes[] = {DataType::kFp32, DataType::kFp16, DataType::kBf16};

TEST(TensorTest, HasNoNumbersAtFirst) {
  for (const Tensor& tensor : {Tensor(), Tensor(std::vector<float>()), Tensor({})}) {
    EXPECT_TRUE(tensor.empty());
    EXPECT_EQ(tensor.size(), 0);
    EXPECT_EQ(tensor.bytes(), 0);
    EXPECT_THAT(tensor.ToFloats().value(), IsEmpty());
    EXPECT_TRUE(tensor.Read(0, {}).ok());
    EXPECT_TRUE(tensor.ReadBytes(0, {}).ok());
  }
}

TEST(TensorTest, GivesTheNumbersOfEveryFormat) {
  for (const DataType type : kTypes) {
    const Tensor tensor = StoredAs(type, {1, -0.5f, 0, kInf, -kInf, kNan, 0x1p-14f});
    EXPECT_EQ(tensor.type(), type);
    EXPECT_EQ(tensor.size(), 7);
    EXPECT_EQ(tensor.bytes(), 7 * static_cast<int64_t>(ByteSize(type)));
    EXPECT_THAT(tensor.ToFloats().value(),
                ElementsAre(1, -0.5f, 0, kInf, -kInf, IsNan(), 0x1p-14f));
    std::vector<float> part(3);
    EXPECT_TRUE(tensor.Read(1, part).ok());
    EXPECT_THAT(part, ElementsAre(-0.5f, 0, kInf));
    EXPECT_TRUE(tensor.Read(7, {}).ok());  // nothing, from behind the last
    std::vector<std::byte> last(ByteSize(type));
    EXPECT_TRUE(tensor.ReadBytes(tensor.bytes() - static_cast<int64_t>(last.size()), last).ok());
    EXPECT_EQ(ReadElement(type, last.data()), 0x1p-14f);
  }
}

TEST(TensorTest, ConvertsMoreThanItDoesAtATime) {
  std::vector<float> values;
  for (int i = 0; i < 100'003; ++i) values.push_back(static_cast<float>(i % 251));
  for (const DataType type : kTypes) {
    EXPECT_EQ(StoredAs(type, values).ToFloats().value(), values);
  }
}

TEST(TensorTest, CopiesOutliveTheOriginal) {
  Tensor copy;
  {
    const Tensor original = {1, 2, 3};
    copy = original;
  }
  EXPECT_THAT(copy.ToFloats().value(), ElementsAre(1, 2, 3));
}

TEST(TensorTest, SaysWhyNumbersCannotBeRead) {
  class Lost final : public TensorSource {
   public:
    absl::Status Read(int64_t, std::span<std::byte>) const override {
      return absl::UnavailableError("the file is gone");
    }
  };
  for (const DataType type : kTypes) {
    const Tensor tensor(type, 5, std::make_shared<Lost>());
    std::vector<float> values(2);
    EXPECT_EQ(tensor.Read(1, values), absl::UnavailableError("the file is gone"));
    EXPECT_EQ(tensor.ToFloats().status(), absl::UnavailableError("the file is gone"));
    EXPECT_TRUE(tensor.Read(0, {}).ok());
  }
}

}  // namespace
}  // namespace mlpserve
