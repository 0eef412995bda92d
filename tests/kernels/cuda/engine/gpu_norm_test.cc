// Every tile that normalises with the batch's statistics on a GPU, against float64: rows and
// columns that are no multiple of any tile, one row, several tiles to a block, and counters that
// are zero again.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kernels/cuda/engine/gpu_kernel.h"
#include "tests/kernels/cuda/engine/gpu_problem.h"
#include "tests/kernels/cuda/engine/gpu_tiles.h"

namespace mlpserve::cuda {
namespace {

constexpr double kEps = 1e-5;

std::vector<float> Ramp(int n, float first, float step) {
  std::vector<float> values(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i)
    values[static_cast<size_t>(i)] = first + step * static_cast<float>(i % 37);
  return values;
}

// What precedes the norm: two column vectors.
EpilogueSpec Before(int n) {
  return {.ops = {{MultiplyAdd{.scale = {.column = 0}, .shift = {.column = 1}}}, {Clamp{-30, 30}}},
          .columns = {Ramp(n, -0.5f, 0.03f), Ramp(n, 3, 0.5f)}};
}

// The kernel's epilogue: it fills the three vectors of the norm in by itself.
EpilogueSpec FromNormOn() {
  return {.ops = {{MultiplyAdd{.shift = {.column = 0}}},
                  {MultiplyAdd{.scale = {.column = 1}, .shift = {.column = 2}}},
                  {Pointwise{Function::kGeluTanh}}},
          .columns = std::vector<std::vector<float>>(3, {0.0f})};
}

// All of it, as a reference computes it.
EpilogueSpec Whole(int n) {
  EpilogueSpec whole = Before(n);
  whole.columns.push_back(Ramp(n, 0.5f, 0.05f));
  whole.columns.push_back(Ramp(n, -1, 0.1f));
  whole.ops.push_back({BatchNorm{.weight = {.column = 2}, .bias = {.column = 3}, .eps = kEps}});
  whole.ops.push_back({Pointwise{Function::kGeluTanh}});
  return whole;
}

StatisticsArgs StatisticsOf(const EpilogueArgs& columns) {
  StatisticsArgs statistics;
  statistics.eps = kEps;
  statistics.before = columns.columns;
  statistics.weight_column = columns.columns + 2 * columns.columns_stride;
  statistics.bias_column = columns.columns + 3 * columns.columns_stride;
  return statistics;
}

class GpuNormTest : public testing::TestWithParam<KernelConfig> {
 protected:
  void SetUp() override {
    const std::string why = WhyNoGpu();
    if (!why.empty()) GTEST_SKIP() << why;
    if (!RunsHere(GetParam().tile)) GTEST_SKIP() << "not for this GPU";
  }

  static void Check(const KernelConfig& config, const std::vector<GpuShape>& shapes,
                    int y_padding) {
    const auto kernel = GpuKernel::Make(FromNormOn(), config, {}, Before(1));
    ASSERT_TRUE(kernel.ok()) << Name(config) << ": " << kernel.status();
    for (const GpuShape& shape : shapes) {
      if (NeedsTensorStores(config) && !IsAligned(shape.n + y_padding, config.output)) continue;
      SCOPED_TRACE(Name(config));
      GpuProblem problem(config, Whole(shape.n), shape, y_padding);
      const GemmArgs args = problem.Args();
      const absl::Status status = kernel->Run(args, 2, 0, StatisticsOf(args.epilogue));
      ASSERT_TRUE(status.ok()) << status;
      problem.Check();
      if (HasFatalFailure()) return;
    }
  }
};

TEST_P(GpuNormTest, EveryShapeMatchesFloat64) {
  const std::vector<GpuShape> shapes = {{1, 8, 40},     {2, 64, 64},    {64, 136, 100},
                                        {65, 256, 129}, {129, 257, 40}, {300, 520, 264},
                                        {1030, 40, 72}};
  for (const KernelConfig& stored : {GetParam(), WithoutTensorStores(GetParam())}) {
    Check(stored, shapes, 0);
    if (HasFatalFailure()) return;
    Check(stored, {{200, 263, 200}}, 1);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(NormalisingTiles, GpuNormTest, testing::ValuesIn(EveryNormalisingConfig()),
                         ConfigName);

}  // namespace
}  // namespace mlpserve::cuda
