// Odd numbers of rows, inputs and outputs, and what one row sees of another.
#include <bit>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

// As wide as the layer allows: a column operand, a function and, where it fits, the input.
BlockSpec OddBlock(int64_t inputs, int64_t outputs, std::mt19937_64& random) {
  BlockSpec block{.name = absl::StrCat("odd", inputs, "x", outputs)};
  block.layers = {RandomLayer(inputs, outputs, true, random)};
  EpilogueSpec& epilogue = block.layers[0].epilogue;
  epilogue.ops = {{Pointwise{.function = Function::kGeluTanh}}};
  if (inputs == outputs) epilogue.ops.push_back({AddInput{}});
  return block;
}

TEST_P(BackendConformance, OddShapesMatchTheOracle) {
  std::mt19937_64 random(2);
  const std::vector<int64_t> sizes = {1, 2, 3, 31, 32, 33};
  int combination = 0;
  for (int64_t inputs : sizes) {
    for (int64_t outputs : sizes) {
      BlockSpec block = OddBlock(inputs, outputs, random);
      block.compute = kComputeTypes[combination % 4];
      block.input_type = kDataTypes[combination % 3];
      block.output_type = kDataTypes[combination / 2 % 3];
      ++combination;
      for (int64_t rows : sizes) {
        ExpectMatchesOracle(block, RandomRows(rows, inputs, block.input_type, random), rows, "odd");
      }
    }
  }
}

TEST_P(BackendConformance, OneLargeOddSizeMatchesTheOracle) {
  std::mt19937_64 random(3);
  struct Shape {
    int64_t rows, inputs, outputs;
  };
  for (const Shape& shape : std::vector<Shape>{{4099, 3, 33},
                                               {4099, 33, 1},
                                               {3, 4099, 33},
                                               {1, 4099, 1},
                                               {33, 31, 4099},
                                               {1, 33, 4099}}) {
    BlockSpec block = OddBlock(shape.inputs, shape.outputs, random);
    for (ComputeType compute : kComputeTypes) {
      block.compute = compute;
      ExpectMatchesOracle(block, RandomRows(shape.rows, shape.inputs, DataType::kFp32, random),
                          shape.rows, "large");
    }
  }
}

// Wide enough for every way in which a backend may share a batch among threads.
TEST_P(BackendConformance, WideLayersMatchTheOracle) {
  std::mt19937_64 random(4);
  BlockSpec block{.name = "wide"};
  block.layers = {RandomLayer(1000, 2100, true, random), RandomLayer(2100, 1000, true, random)};
  block.layers[0].epilogue.ops = {{Pointwise{.function = Function::kSilu}}};
  block.layers[1].epilogue.ops = {{AddInput{}}};
  for (ComputeType compute : kComputeTypes) {
    block.compute = compute;
    for (int64_t rows : {2, 23}) {
      ExpectMatchesOracle(block, RandomRows(rows, 1000, DataType::kFp32, random), rows, "wide");
    }
  }
  block.compute = ComputeType::kFp32;
  ExpectMatchesOracle(block, RandomRows(64, 1000, DataType::kFp32, random), 64, "wide");
}

TEST_P(BackendConformance, ASmallBatchAfterALargeOneSeesNothingOfIt) {
  std::mt19937_64 random(5);
  BlockSpec block = RandomBlock({.features = {20, 50, 20}}, 5);
  constexpr int64_t kMaxRows = 200;
  const std::unique_ptr<LoadedBlock> loaded = Load(block, kMaxRows);
  ASSERT_NE(loaded, nullptr);
  for (int64_t rows : {200, 1, 199, 2, 50}) {
    const std::vector<float> x = RandomRows(rows, 20, block.input_type, random);
    const std::vector<float> y = RunLoaded(*loaded, block, x, rows);
    ExpectWithinBounds(block, EvaluateOracle(block, x, rows), x, y, "in turn");
    EXPECT_GE(loaded->Bucket(rows), rows);
    EXPECT_LE(loaded->Bucket(rows), kMaxRows);
  }
}

TEST_P(BackendConformance, BatchInvariantRowsHaveTheSameBitsInEveryBatch) {
  std::mt19937_64 random(6);
  for (ComputeType compute : kComputeTypes) {
    BlockSpec block = RandomBlock({.features = {65, 700, 130}, .max_depth = 1}, 6);
    block.compute = compute;
    block.batch_invariant = true;
    const int64_t total = 150;
    const std::unique_ptr<LoadedBlock> loaded = Load(block, total);
    ASSERT_NE(loaded, nullptr);
    const std::vector<float> x = RandomRows(total, 65, DataType::kFp32, random);
    const std::vector<float> whole = RunLoaded(*loaded, block, x, total);
    for (int64_t rows : {1, 2, 3, 5, 6, 7, 16, 48, 49, 64, 97}) {
      const int64_t first = total - rows;
      const std::vector<float> part(x.begin() + first * 65, x.end());
      const std::vector<float> y = RunLoaded(*loaded, block, part, rows);
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_EQ(std::bit_cast<uint32_t>(y[i]),
                  std::bit_cast<uint32_t>(whole[static_cast<size_t>(first * 130) + i]))
            << "row " << i / 130 << " of " << rows << ", column " << i % 130 << "\n"
            << Describe(block);
      }
    }
  }
}

}  // namespace
}  // namespace mlpserve
