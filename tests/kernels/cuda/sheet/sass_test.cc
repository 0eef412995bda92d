#include "kernels/cuda/sheet/sass.h"

#include <gtest/gtest.h>

namespace mlpserve::cuda {
namespace {

// As nvdisasm -c prints it, cut short. Of the loop over k, one part lies behind the end.
constexpr char kKernel[] =
    "\t.target\tsm_89\n"
    "//--------------------- .text.mlpserve_gemm       --------------------------\n"
    "mlpserve_gemm:\n"
    ".text.mlpserve_gemm:\n"
    "        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;\n"
    "        /*0010*/              @!P0 BRA `(.L_x_2) ;\n"
    "        /*0020*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;\n"
    ".L_x_4:\n"
    "        /*0030*/              @!PT LDS RZ, [RZ] ;\n"
    "        /*0040*/               @P3 BRA `(.L_x_7) ;\n"
    ".L_x_8:\n"
    "        /*0050*/                   LDSM.16.M88.4 R12, [R32] ;\n"
    ".L_x_5:\n"
    "        /*0060*/                   LDSM.16.M88.2 R12, [R32] ;\n"
    "        /*0070*/              @UP0 BRA `(.L_x_5) ;\n"
    "        /*0080*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;\n"
    "        /*0090*/               @P0 BRA `(.L_x_4) ;\n"
    ".L_x_2:\n"
    "        /*00a0*/                   EXIT ;\n"
    ".L_x_7:\n"
    "        /*00b0*/                   LDGSTS.E.BYPASS.LTC128B.128.ZFILL [R21], [R10.64], P1 ;\n"
    "        /*00c0*/                   BRA `(.L_x_8) ;\n"
    ".L_x_6:\n"
    "        /*00d0*/                   BRA `(.L_x_6);\n";

TEST(SassTest, ReadsInstructionsAndWhereBranchesGo) {
  const auto instructions = ParseSass(kKernel);
  ASSERT_TRUE(instructions.ok()) << instructions.status();
  ASSERT_EQ(instructions->size(), 14u);
  EXPECT_EQ((*instructions)[0].opcode, "IMAD.MOV.U32");
  EXPECT_EQ((*instructions)[1].target, 10);
  EXPECT_TRUE((*instructions)[1].falls_through);
  EXPECT_TRUE((*instructions)[3].is_never);
  EXPECT_EQ((*instructions)[9].target, 3);
  EXPECT_EQ((*instructions)[10].target, Instruction::kNoTarget);
  EXPECT_FALSE((*instructions)[10].falls_through);
  EXPECT_EQ((*instructions)[12].target, 5);
  EXPECT_FALSE((*instructions)[12].falls_through);
}

TEST(SassTest, CountsTheLoopThatMultiplies) {
  const auto counts = CountMainLoop(*ParseSass(kKernel), "HMMA");
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->inside.all, 9);
  EXPECT_EQ(counts->inside.products, 1);
  EXPECT_EQ(counts->inside.shared_loads, 2);  // not the one that is never executed
  EXPECT_EQ(counts->inside.copies, 1);
  EXPECT_EQ(counts->inside.rest(), 5);
  EXPECT_EQ(counts->inside.shared_bytes, 512 + 256 + 512);
  EXPECT_EQ(counts->outside.all, 5);
  EXPECT_EQ(counts->outside.products, 1);
}

TEST(SassTest, DecodesWhatTheSchedulerIsTold) {
  const auto instructions = ParseSass(
      "        /*0aa0*/  LDSM.16.M88.4 R16, [R75] ;     /* 0x000000004b10783b */\n"
      "                                                 /* 0x000e680000000200 */\n"
      "        /*0b00*/  HMMA.16816.F32 R68, R16.reuse, R72, R68 ;  /* 0x000000481044723c */\n"
      "                                                 /* 0x042ff00000001844 */\n"
      "        /*0e40*/  NOP ;\n");
  ASSERT_TRUE(instructions.ok()) << instructions.status();
  EXPECT_EQ((*instructions)[0].control, (Control{.stall = 4, .write_barrier = 1}));
  EXPECT_EQ((*instructions)[1].control, (Control{.stall = 8, .waits = 1 << 1}));
  EXPECT_EQ((*instructions)[1].operands, "R68, R16.reuse, R72, R68");
  EXPECT_EQ((*instructions)[2].control, Control{});  // without an encoding
}

TEST(SassTest, SaysWhatIsNotThere) {
  EXPECT_EQ(ParseSass("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseSass("nvdisasm fatal : could not open x\n").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseSass("        /*0010*/ BRA `(.L_x_2) ;\n").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CountMainLoop(*ParseSass(kKernel), "FFMA").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(Disassemble("/no/such/nvdisasm", "cubin").status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace mlpserve::cuda
