// Compiles every tile of the tuning space, for both architectures and every type, as a server
// would; holds what the compiler reports against what was planned, and the RTX 4090's sheet against
// both. Needs no GPU.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "kernels/cuda/sheet/compiled_space.h"
#include "kernels/cuda/sheet/measuring_plan.h"
#include "kernels/cuda/sheet/sheet.h"
#include "kernels/cuda/sheet/suite_shapes.h"
#include "tests/source_folder.h"

namespace mlpserve::cuda {
namespace {

constexpr int kCompilers = 2;  // threads
constexpr char kDisassembler[] = MLPSERVE_NVDISASM;
constexpr char kHowTo[] = ": run build/release/bin/kernel_sheet and commit what it writes";

// Everything is compiled once, for all tests.
struct Space {
  std::string compiler;  // empty: there is none
  std::string why_not;
  std::vector<SpaceKernel> kernels;
};

const Space& TheSpace() {
  static const Space& space = *[] {
    auto* made = new Space;
    const auto nvrtc = Nvrtc::Open();
    if (nvrtc.ok()) {
      made->compiler = (*nvrtc)->version();
      made->kernels = CompileSpace(**nvrtc, {Rtx4090(), H200()}, kCompilers);
    } else {
      made->why_not = nvrtc.status().ToString();
    }
    return made;
  }();
  return space;
}

std::string ReadFromTree(const std::string& path) {
  std::ifstream file(SourceFolder() + "/" + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A tile's promise is made for 99 KB of shared memory: an SM that has more may hold more CTAs.
bool MayHoldMore(const SpaceKernel& kernel) {
  return kernel.limits.arch != "sm_89" && kernel.planned.cluster == 1;
}

void Check(const SpaceKernel& kernel) {
  ASSERT_TRUE(kernel.compiled.ok()) << kernel.compiled.status();
  const KernelResources& used = kernel.compiled->resources;
  const TileResources& planned = kernel.planned;
  std::printf("%-7s %-50s %3d registers %6d bytes shared, %3d threads x %d CTAs\n",
              kernel.limits.arch.c_str(), CodeName(kernel.config).c_str(), used.registers,
              planned.shared_bytes, planned.threads, kernel.ctas_per_sm());
  ASSERT_GT(used.registers, 0) << "this compiler does not pass on what the assembler reports";
  EXPECT_TRUE(used.in_registers())
      << used.stack_bytes << " bytes of stack, " << used.spill_store_bytes << " spilled";
  EXPECT_LE(used.static_shared_bytes, planned.shared_bytes);
  EXPECT_LE(planned.shared_bytes, kernel.limits.sm.shared_per_cta);
  EXPECT_GE(kernel.ctas_per_sm(), planned.ctas_per_sm);
  EXPECT_TRUE(MayHoldMore(kernel) || kernel.ctas_per_sm() == planned.ctas_per_sm)
      << "expected " << planned.ctas_per_sm << " CTAs of an SM, found " << kernel.ctas_per_sm();
  EXPECT_FALSE(absl::StrContains(kernel.compiled->log, "serialized")) << kernel.compiled->log;
}

TEST(CompileAllTest, EveryConfigCompilesAsPlannedWithoutSpills) {
  if (TheSpace().compiler.empty()) GTEST_SKIP() << TheSpace().why_not;
  for (const SpaceKernel& kernel : TheSpace().kernels) {
    SCOPED_TRACE(kernel.limits.arch + " " + CodeName(kernel.config));
    Check(kernel);
  }
}

TEST(CompileAllTest, TheSheetIsWhatTheTreeMakes) {
  if (TheSpace().compiler.empty()) GTEST_SKIP() << TheSpace().why_not;
  if (std::string(kDisassembler).empty()) GTEST_SKIP() << "no nvdisasm was found";
  const std::string kept = ReadFromTree(kSheetPath);
  if (!absl::StrContains(kept, CompilerLine(TheSpace().compiler))) {
    ASSERT_TRUE(absl::StrContains(kept, "Compiled by NVRTC ")) << kSheetPath << kHowTo;
    GTEST_SKIP() << "another compiler wrote the sheet, not NVRTC " << TheSpace().compiler;
  }
  const auto sheet =
      Sheet(TheSpace().kernels, kDisassembler, TheSpace().compiler, ReadFromTree(kSuitePlanPath));
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_EQ(kept, *sheet) << kSheetPath << kHowTo;
}

TEST(MeasuringPlanTest, ThePlansAreWhatTheTreeMakes) {
  EXPECT_EQ(ReadFromTree(kTimingPlanPath), TimingPlan()) << kTimingPlanPath << kHowTo;
  EXPECT_EQ(ReadFromTree(kCheckPlanPath), CheckPlan()) << kCheckPlanPath << kHowTo;
}

}  // namespace
}  // namespace mlpserve::cuda
