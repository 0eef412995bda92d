#include "server/tools/bench/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace mlpserve::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Record Example() {
  return {.op = "scale_hardtanh_gelu",
          .m = 16,
          .n = 8192,
          .k = 4096,
          .compute = ComputeType::kTf32,
          .variant = "wgmma_rows.r64x16",
          .burst_ms = 0.04,
          .ms = 0.03,
          .relative_error = 2.4e-4,
          .resources = Resources{.registers = 42, .shared_bytes = 184480},
          .sm_mhz = 1755.4,
          .power_w = 688.6};
}

// What reads records keys them by op, m, n, k and dtype, and takes ms, variant and relerr of them.
TEST(BenchRecordTest, HoldsWhatARecordIsComparedBy) {
  const nlohmann::json json = nlohmann::json::parse(ToJson(Example()));
  EXPECT_EQ(json["op"], "scale_hardtanh_gelu");
  EXPECT_EQ(json["m"], 16);
  EXPECT_EQ(json["n"], 8192);
  EXPECT_EQ(json["k"], 4096);
  EXPECT_EQ(json["dtype"], "tf32");
  EXPECT_EQ(json["variant"], "wgmma_rows.r64x16");
  EXPECT_EQ(json["ms"], 0.03);
  EXPECT_EQ(json["burst_ms"], 0.04);
  EXPECT_DOUBLE_EQ(json["tflops"], 2e-9 * 16 * 8192 * 4096 / 0.03);
  EXPECT_DOUBLE_EQ(json["gbps"], 4e-6 * (8192.0 * 4096 + 16.0 * (8192 + 4096)) / 0.03);
  EXPECT_EQ(json["relerr"], 2.4e-4);
  EXPECT_EQ(json["regs"], 42);
  EXPECT_EQ(json["smem"], 184480);
  EXPECT_EQ(json["local"], 0);
  EXPECT_EQ(json["sm_mhz"], 1755);
  EXPECT_EQ(json["power_w"], 689);
  EXPECT_FALSE(json.contains("layers"));
}

TEST(BenchRecordTest, IsOneLineAndLeavesOutWhatIsNotKnown) {
  Record record = Example();
  record.relative_error = std::numeric_limits<double>::infinity();
  record.resources.reset();
  record.sm_mhz = 0;
  record.variant = "a \"name\"\n";
  const std::string line = ToJson(record);
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  const nlohmann::json json = nlohmann::json::parse(line);
  for (const char* key : {"relerr", "regs", "smem", "sm_mhz", "power_w", "chain_ms"}) {
    EXPECT_FALSE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["variant"], record.variant);
}

TEST(BenchRecordTest, AChainAddsItsTimeOfALayer) {
  Record record = Example();
  record.layers = 8;
  record.chain_ms = 0.031;
  const nlohmann::json json = nlohmann::json::parse(ToJson(record));
  EXPECT_EQ(json["layers"], 8);
  EXPECT_EQ(json["chain_ms"], 0.031);
  EXPECT_EQ(json["ms"], 0.03);
  EXPECT_THAT(ToTableRow(record, nullptr, 0), HasSubstr("31.00 us a layer in a chain of 8"));
}

TEST(BenchRecordTest, ARowOfTheTableGivesRatiosToTheLibraryAndToReading) {
  Record plain = Example();
  plain.burst_ms = 0.05;
  plain.ms = 0.06;
  const std::string row = ToTableRow(Example(), &plain, 9000);
  EXPECT_THAT(row, HasSubstr("1.25x"));
  EXPECT_THAT(row, HasSubstr("2.00x"));
  EXPECT_THAT(row, HasSubstr(" 0.50 "));
  EXPECT_THAT(ToTableRow(Example(), nullptr, 0), Not(HasSubstr("x  ")));
}

TEST(BenchRecordTest, ARowOfTheTableShowsSpills) {
  Record record = Example();
  record.resources->local_bytes = 24;
  EXPECT_THAT(ToTableRow(record, nullptr, 0), HasSubstr("spills 24 bytes"));
}

}  // namespace
}  // namespace mlpserve::tools
