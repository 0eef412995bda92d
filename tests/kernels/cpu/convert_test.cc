// Held against the exact scalar conversions of kernels/spec/rounding.h, on every instruction set.
#include "kernels/cpu/convert.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/spec/rounding.h"

namespace mlpserve::cpu {
namespace {

class ConvertTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { UseInstructionSet(GetParam()); }
  void TearDown() override { UseInstructionSet(""); }
};

// Every exponent with random significands, ties, and the special values; a multiple of 64.
std::vector<float> ManyValues() {
  std::mt19937 random(1);
  std::vector<float> values = {0.0f, -0.0f, 65519.996f, 65520.0f, 0x1p-24f, 0x1p-25f, 0x3p-26f};
  for (uint32_t i = 0; i < 100000; ++i) {
    const uint32_t bits = static_cast<uint32_t>(random());
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(std::bit_cast<float>(bits & 0xfffff000u));  // ties of FP16 and TF32
    values.push_back(std::bit_cast<float>(bits & 0xffff8000u));  // ties of BF16
  }
  values.resize(values.size() / 64 * 64);
  return values;
}

void ExpectSame(float actual, float expected, float from) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << from;
  } else {
    EXPECT_EQ(std::bit_cast<uint32_t>(actual), std::bit_cast<uint32_t>(expected)) << from;
  }
}

TEST_P(ConvertTest, RoundRowsRoundsExactly) {
  const std::vector<float> values = ManyValues();
  std::vector<float> rounded(values.size());
  const auto count = static_cast<int64_t>(values.size());
  for (ComputeType type :
       {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    RoundRows(type, values.data(), count, 1, count, rounded.data(), count);
    for (size_t i = 0; i < values.size(); ++i) {
      ExpectSame(rounded[i], RoundTo(type, values[i]), values[i]);
    }
    if (HasFailure()) return;
  }
}

TEST_P(ConvertTest, RowsAreWrittenAndReadExactly) {
  const std::vector<float> values = ManyValues();
  const int64_t columns = 37;
  const int64_t rows = static_cast<int64_t>(values.size()) / 64;
  for (DataType type : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    std::vector<std::byte> wire(static_cast<size_t>(rows * columns) * ByteSize(type));
    WriteRows(type, values.data(), 64, rows, columns, wire.data(), columns);
    std::vector<float> read(static_cast<size_t>(rows * 48));
    ReadRows(type, wire.data(), rows, columns, read.data(), 48);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t c = 0; c < columns; ++c) {
        const float value = values[static_cast<size_t>(row * 64 + c)];
        std::byte element[4];
        WriteElement(type, value, element);
        ExpectSame(read[static_cast<size_t>(row * 48 + c)], ReadElement(type, element), value);
      }
    }
    if (HasFailure()) return;
  }
}

TEST_P(ConvertTest, NothingPastARowIsWrittenToTheWire) {
  const std::vector<float> values(64, 1.0f);
  for (DataType type : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    const size_t bytes = ByteSize(type);
    std::vector<std::byte> wire(8 * bytes, std::byte{0x55});
    WriteRows(type, values.data(), 32, 2, 3, wire.data(), 4);
    for (size_t i = 0; i < wire.size(); ++i) {
      const bool written = i / bytes % 4 < 3 && i / bytes < 8;
      EXPECT_EQ(wire[i] == std::byte{0x55}, !written) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, ConvertTest, testing::ValuesIn(InstructionSets()),
                         [](const auto& set) { return set.param; });

}  // namespace
}  // namespace mlpserve::cpu
