// Every tile of the tuning space on a GPU, against float64: every kind of edge that a tile can
// have, depths around that of its ring, paddings that hold NaN, neighbours of y and of the scratch
// memory that must not be touched, and counters that are zero again.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/tuning_space.h"
#include "tests/kernels/cuda/engine/gpu_kernel.h"
#include "tests/kernels/cuda/engine/gpu_problem.h"
#include "tests/kernels/cuda/engine/gpu_tiles.h"

namespace mlpserve::cuda {
namespace {

const GpuShape kShapes[] = {{1, 1, 1},      {1, 64, 33},     {3, 130, 64},    {8, 8, 7},
                            {16, 257, 100}, {17, 96, 511},   {64, 128, 256},  {65, 33, 129},
                            {129, 257, 40}, {200, 200, 200}, {128, 256, 512}, {300, 520, 264}};

std::vector<EpilogueSpec> Epilogues(int n) {
  std::vector<float> scale(n), shift(n);
  for (int i = 0; i < n; ++i) {
    scale[i] = 0.02f * static_cast<float>(i % 50) - 0.5f;
    shift[i] = 0.1f * static_cast<float>(i % 7);
  }
  const MultiplyAdd affine{.scale = {.column = 0}, .shift = {.column = 1}};
  return {
      {},
      {.ops = {{affine}, {Clamp{-2, 2}}, {Pointwise{Function::kGeluTanh}}},
       .columns = {scale, shift}},
      {.ops = {{Residual{{{Pointwise{Function::kSigmoid}}, {affine}}}}, {AddInput{}}},
       .columns = {scale, shift}},
  };
}

// Choosing leaves out what does not fit.
bool HoldsColumns(const KernelConfig& config, int columns) {
  const int needed = ResourcesOf(config.tile, config.compute, config.output, columns).shared_bytes;
  return needed <= H200().sm.shared_per_cta;
}

class GpuTest : public testing::TestWithParam<KernelConfig> {
 protected:
  void SetUp() override {
    const std::string why = WhyNoGpu();
    if (!why.empty()) GTEST_SKIP() << why;
    if (!RunsHere(GetParam().tile)) GTEST_SKIP() << "not for this GPU";
  }

  // Of the epilogue with that number, at shapes whose rows of y have that padding. `splits`: parts
  // of k that blocks share.
  static void Check(const KernelConfig& config, size_t epilogue, int y_padding,
                    const std::vector<GpuShape>& shapes, const std::vector<int>& splits) {
    const auto columns = static_cast<int>(Epilogues(1)[epilogue].columns.size());
    for (const KernelConfig& stored : {config, WithoutTensorStores(config)}) {
      if (!HoldsColumns(stored, columns)) continue;
      const auto kernel = GpuKernel::Make(Epilogues(1)[epilogue], stored);
      ASSERT_TRUE(kernel.ok()) << Name(stored) << ": " << kernel.status();
      for (const GpuShape& shape : shapes) {
        if (NeedsTensorStores(stored) && !IsAligned(shape.n + y_padding, stored.output)) continue;
        for (const int split : splits) {
          KernelConfig split_config = stored;
          split_config.split_k = split;
          SCOPED_TRACE(Name(split_config) + ", epilogue " + std::to_string(epilogue));
          GpuProblem problem(split_config, Epilogues(shape.n)[epilogue], shape, y_padding);
          const absl::Status status = kernel->Run(problem.Args(), 2);
          ASSERT_TRUE(status.ok()) << status;
          problem.Check();
          if (HasFatalFailure()) return;
        }
      }
      if (!NeedsTensorStores(config)) break;  // both are the same
    }
  }
};

TEST_P(GpuTest, EveryShapeEpilogueAndSplitMatchesFloat64) {
  const std::vector<GpuShape> shapes(std::begin(kShapes), std::end(kShapes));
  const std::vector<int> splits = IsWgmma(GetParam().tile) ? std::vector{1} : std::vector{1, 3};
  for (size_t epilogue = 0; epilogue < Epilogues(1).size(); ++epilogue) {
    Check(GetParam(), epilogue, epilogue == 1 ? 3 : 0, shapes, splits);
    if (HasFatalFailure()) return;
  }
}

TEST_P(GpuTest, OtherFormatsOfTheResultMatchFloat64) {
  KernelConfig config = GetParam();
  config.output = config.output == DataType::kFp32 ? DataType::kFp16 : DataType::kFp32;
  if (!HoldsColumns(config, 2)) GTEST_SKIP() << "too little shared memory for such results";
  Check(config, 1, 0, {{65, 36, 129}, {200, 200, 200}}, {1});
}

TEST_P(GpuTest, DepthsAroundThatOfTheRingMatchFloat64) {
  std::vector<GpuShape> shapes;
  for (const int depth : DepthsAroundRing(GetParam())) {
    shapes.push_back({9, 72, depth});
    shapes.push_back({130, 136, depth});
  }
  Check(GetParam(), 0, 0, shapes, {1});
}

// Rows past 65,535, and few columns: grids, row indices and tensor maps of that size.
TEST_P(GpuTest, SeventyThousandRowsOfThirtyThreeColumnsMatchFloat64) {
  Check(GetParam(), 0, 0, {{70000, 33, 64}}, {1});
}

INSTANTIATE_TEST_SUITE_P(TuningSpace, GpuTest, testing::ValuesIn(EveryConfig()), ConfigName);

}  // namespace
}  // namespace mlpserve::cuda
