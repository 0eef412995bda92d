// What the conformance suite cannot reach: the BF16 instructions where they are not the faster way,
// and several blocks on one team.
#include "kernels/cpu/cpu_block.h"

#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/reference/oracle.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve::cpu {
namespace {

// FP32 on the wire.
void ExpectMatchesOracle(CpuBlock& loaded, const BlockSpec& block, int64_t rows, uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::vector<float> x = RandomRows(rows, block.input_features(), DataType::kFp32, random);
  std::vector<float> y(static_cast<size_t>(rows * block.output_features()));
  loaded.Run(reinterpret_cast<const std::byte*>(x.data()), reinterpret_cast<std::byte*>(y.data()),
             rows);
  const WorstValue worst = FindWorst(EvaluateOracle(block, x, rows), y);
  EXPECT_TRUE(worst.ok()) << ToString(worst) << "\nseed " << seed << ", " << rows << " rows, "
                          << loaded.Variant(0) << ", " << Describe(block);
}

TEST(CpuBlockTest, Bf16InstructionsMatchTheOracle) {
  WorkerTeam team(2);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const bool statistics = seed % 4 == 3;
    BlockSpec block = RandomBlock(
        {.features = {33, 100, 33}, .max_depth = 1, .batch_statistics = statistics}, seed);
    block.compute = ComputeType::kBf16;
    const auto loaded =
        CpuBlock::Create(block,
                         {.max_rows = 250, .bf16 = Bf16Instructions::kIfPresent, .team = &team})
            .value();
    for (int64_t rows : {2, 48, 49, 250}) ExpectMatchesOracle(*loaded, block, rows, seed);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(CpuBlockTest, BlocksOfOneTeamRunAtTheSameTime) {
  WorkerTeam team(3);
  std::vector<std::thread> callers;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    callers.emplace_back([&team, seed] {
      const BlockSpec block = RandomBlock({.features = {300, 400, 300}, .max_depth = 1}, seed);
      const auto loaded = CpuBlock::Create(block, {.max_rows = 300, .team = &team}).value();
      for (int64_t rows : {300, 1, 20, 150}) ExpectMatchesOracle(*loaded, block, rows, seed);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace mlpserve::cpu
