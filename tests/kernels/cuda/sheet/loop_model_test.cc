#include "kernels/cuda/sheet/loop_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_format.h"
#include "kernels/cuda/sheet/sheet.h"
#include "tests/source_folder.h"

namespace mlpserve::cuda {
namespace {

Instruction Product(int sum) {
  return {.opcode = "HMMA.16816.F32",
          .operands = absl::StrFormat("R%d, R100, R104, R%d", sum, sum),
          .control = {.stall = 1}};
}

Instruction Copy() { return {.opcode = "LDGSTS.E.BYPASS.128", .control = {.stall = 1}}; }

TEST(LoopModelTest, IndependentProductsFillTheTensorPipe) {
  const LoopSpeed speed = SpeedOf({Product(0), Product(4)}, {.ctas = 1, .warps_per_cta = 4});
  EXPECT_NEAR(speed.tensor_share, 1, 0.01);
  EXPECT_NEAR(speed.cycles, 64, 1);
  EXPECT_EQ(speed.limit(), "tensor");
}

TEST(LoopModelTest, AProductWaitsForTheSumItAddsTo) {
  const SmRates rates{.product_latency = 64};
  const LoopSpeed one = SpeedOf({Product(0)}, {.ctas = 1, .warps_per_cta = 4}, rates);
  EXPECT_NEAR(one.tensor_share, 0.5, 0.01);
  EXPECT_EQ(one.limit(), "latency");
  // Another warp of the quarter computes meanwhile.
  const LoopSpeed two = SpeedOf({Product(0)}, {.ctas = 1, .warps_per_cta = 8}, rates);
  EXPECT_NEAR(two.tensor_share, 1, 0.02);
}

TEST(LoopModelTest, StallCountsHoldAWarpBack) {
  Instruction slow = Product(0);
  slow.control.stall = 15;
  Instruction wait{.opcode = "NOP", .control = {.stall = 15}};
  const LoopSpeed speed = SpeedOf({slow, wait, wait, wait, wait}, {.ctas = 1, .warps_per_cta = 4});
  EXPECT_NEAR(speed.cycles, 75, 1);
}

TEST(LoopModelTest, AScoreboardHoldsBackWhatWaitsForIt) {
  Instruction load{.opcode = "LDS.128", .control = {.stall = 1, .write_barrier = 2}};
  Instruction product = Product(0);
  product.control.waits = 1 << 2;
  const SmRates rates;
  const LoopSpeed speed = SpeedOf({load, product}, {.ctas = 1, .warps_per_cta = 1}, rates);
  EXPECT_GE(speed.cycles, rates.shared_latency + 4);
  EXPECT_LE(speed.cycles, rates.shared_latency + 8);
  product.control.waits = 1 << 3;  // of something else
  EXPECT_NEAR(SpeedOf({load, product}, {.ctas = 1, .warps_per_cta = 1}).cycles, 33, 1);
}

TEST(LoopModelTest, L2DeliversSoManyBytesAClock) {
  const LoopSpeed speed =
      SpeedOf({Copy(),
               {.opcode = "LDGDEPBAR", .control = {.stall = 1}},
               {.opcode = "DEPBAR.LE", .operands = "SB0, 0x4", .control = {.stall = 1}}},
              {.ctas = 2, .warps_per_cta = 8});
  EXPECT_NEAR(speed.l2_bytes_per_clock, SmRates{}.l2_bytes_per_clock, 0.1);
  EXPECT_EQ(speed.limit(), "L2");
}

TEST(LoopModelTest, AwaitingEveryGroupExposesTheLatencyOfL2) {
  const LoopSpeed speed =
      SpeedOf({Copy(),
               {.opcode = "LDGDEPBAR", .control = {.stall = 1}},
               {.opcode = "DEPBAR.LE", .operands = "SB0, 0x0", .control = {.stall = 1}}},
              {.ctas = 1, .warps_per_cta = 1});
  EXPECT_GE(speed.cycles, SmRates{}.l2_latency);
}

TEST(LoopModelTest, WarpsOfACtaWaitForOneAnother) {
  const Instruction barrier{.opcode = "BAR.SYNC", .control = {.stall = 1}};
  const SmRates rates{.barrier_latency = 500};
  EXPECT_GE(SpeedOf({Product(0), barrier}, {.ctas = 1, .warps_per_cta = 8}, rates).cycles, 500);
}

TEST(LoopModelTest, ConflictsMultiplyWhatSharedMemoryTakes) {
  const Instruction load{.opcode = "LDS.128",
                         .control = {.stall = 1, .write_barrier = 0, .waits = 1}};
  const LoopWarps warps{.ctas = 1, .warps_per_cta = 8};
  LoopWarps conflicting = warps;
  conflicting.conflicts = 3;
  EXPECT_NEAR(SpeedOf({load}, warps).shared_share, 0.9, 0.11);
  EXPECT_NEAR(SpeedOf({load}, conflicting).cycles, 3 * 8 * 4, 2);
}

TEST(LoopModelTest, NoLoopAndNoWarpsHaveNoSpeed) {
  EXPECT_EQ(SpeedOf({}, {.ctas = 1, .warps_per_cta = 8}).cycles, 0);
  EXPECT_EQ(SpeedOf({Product(0)}, {.ctas = 0, .warps_per_cta = 8}).cycles, 0);
}

TEST(LoopModelTest, EndsOfATileCostLessTheLongerItIs) {
  const LoopSpeed speed{.cycles = 100, .tensor_share = 0.9};
  const auto share = [&speed](int passes) {
    return TensorShareOfTiles(speed, {},
                              {.passes = passes, .instructions = 200, .written_bytes = 1e4});
  };
  EXPECT_LT(share(10), share(100));
  EXPECT_NEAR(share(1'000'000), 0.9, 1e-3);
  EXPECT_LT(share(1'000'000), 0.9);
}

// github.com/spatters/mma-matmul, M = N = K = 4096, FP16: `percent` of 165.2 TFLOP/s.
struct Step {
  const char* name;
  const char* file;
  double percent;
  int ctas;  // of an SM, by its registers and shared memory
  // 1.x: of 12 and 24 accesses to shared memory a third are of A (2 lanes to a bank), a third of B
  // (4), a third are stores (1).
  double conflicts;
  double lines_a_load;  // 1.x: 2 rows of 16 halves; 2.x: 8 rows of 64 bytes
  int depth;            // of k in a pass
  int outside;          // instructions
  int tile;
  bool within_three_percent;
};
constexpr Step kSteps[] = {
    {"1.0 naive", "1_0", 17.8, 6, 7.0 / 3, 2, 32, 127, 32, false},
    {"1.1 tiles of 2 x 2", "1_1", 34.7, 5, 7.0 / 3, 2, 16, 127, 64, false},
    {"2.0 permuted shared memory", "2_0", 77.0, 5, 1, 8, 64, 240, 64, true},
    {"2.1 registers", "2_1", 80.8, 4, 1, 8, 128, 274, 64, true},
    {"3.0 three stages of cp.async", "3_0", 83.2, 4, 1, 8, 64, 209, 64, true},
    {"3.1 tiles of 4 x 4", "3_1", 93.0, 2, 1, 8, 32, 201, 128, false},
};

std::string ReadFromTree(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(SourceFolder() + "/" + path, std::ios::binary).rdbuf();
  return text.str();
}

double PredictedPercent(const Step& step) {
  const auto instructions = ParseSass(
      ReadFromTree(absl::StrFormat("tests/kernels/cuda/sheet/spatters/step_%s.sass", step.file)));
  EXPECT_TRUE(instructions.ok()) << instructions.status();
  const auto counts = CountMainLoop(*instructions, "HMMA");
  EXPECT_TRUE(counts.ok()) << counts.status();
  const LoopWarps warps{.ctas = step.ctas,
                        .warps_per_cta = 8,
                        .conflicts = step.conflicts,
                        .lines_a_load = step.lines_a_load};
  // All products of a tile and of the SM's CTAs, which the pass's depth in k has to agree with.
  constexpr int kProduct = 16 * 8 * 16;
  EXPECT_EQ(counts->inside.products * warps.warps_per_cta * kProduct,
            step.tile * step.tile * step.depth);
  return 100 * TensorShareOfTiles(SpeedOf(counts->loop, warps), warps,
                                  {.passes = 4096 / step.depth,
                                   .instructions = step.outside,
                                   .written_bytes = 4.0 * step.tile * step.tile});
}

TEST(LoopModelTest, PredictsPublishedStepsWithinThreePercentWhereTheSheetSaysSo) {
  const std::string sheet = ReadFromTree(kSheetPath);
  for (const Step& step : kSteps) {
    const double predicted = PredictedPercent(step), off = predicted / step.percent - 1;
    EXPECT_EQ(std::abs(off) <= 0.03, step.within_three_percent) << step.name << " " << predicted;
    const std::string row = absl::StrFormat("| %s | %.1f%% | %.1f%% | %+.1f%% |\n", step.name,
                                            step.percent, predicted, 100 * off);
    EXPECT_NE(sheet.find(row), std::string::npos) << kSheetPath << " has not: " << row;
  }
}

}  // namespace
}  // namespace mlpserve::cuda
