// An output of more than 2^31 elements: no index may be of 32 bits. Too large to check whole: rows
// at its ends, around the element 2^31 and at random are held against float64.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/spec/rounding.h"
#include "tests/kernels/cuda/engine/gpu_kernel.h"
#include "tests/kernels/cuda/engine/gpu_problem.h"
#include "tests/kernels/cuda/engine/gpu_tiles.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kRows = 70000;
constexpr int64_t kColumns = 32768;
constexpr int64_t kDepth = 64;
static_assert(kRows * kColumns > int64_t{1} << 31);

constexpr size_t kGuardBytes = 4096;

class GpuLargeTest : public testing::TestWithParam<KernelConfig> {
 protected:
  void SetUp() override {
    const std::string why = WhyNoGpu();
    if (!why.empty()) GTEST_SKIP() << why;
    if (!RunsHere(GetParam().tile)) GTEST_SKIP() << "not for this GPU";
    size_t total = 0;
    ASSERT_EQ(cudaMemGetInfo(&free_, &total), cudaSuccess);
  }

  size_t free_ = 0;
};

std::vector<int64_t> RowsToCheck() {
  const int64_t at_limit = (int64_t{1} << 31) / kColumns;
  std::vector<int64_t> rows = {0, 1, at_limit - 1, at_limit, at_limit + 1, kRows - 2, kRows - 1};
  std::mt19937 random(5);
  for (int i = 0; i < 24; ++i) {
    rows.push_back(static_cast<int64_t>(random() % static_cast<uint32_t>(kRows)));
  }
  return rows;
}

TEST_P(GpuLargeTest, AnOutputOfMoreThan2To31ElementsMatchesFloat64) {
  const KernelConfig& config = GetParam();
  const size_t size = ByteSize(config.output);
  const size_t y_bytes = static_cast<size_t>(kRows * kColumns) * size;
  if (free_ < y_bytes + (size_t{1} << 30)) GTEST_SKIP() << "too little memory on the GPU";
  std::mt19937 random(7);
  const GpuMatrix x = RandomMatrix(kRows, kDepth, config.compute, random);
  const GpuMatrix w = RandomMatrix(kColumns, kDepth, config.compute, random);
  const std::shared_ptr<void> y = AllocateOnGpu(y_bytes + kGuardBytes);
  FillOnGpu(y.get(), 0xFF, y_bytes + kGuardBytes);  // NaN
  GemmArgs args;
  args.x = x.device.get();
  args.w = w.device.get();
  args.y = y.get();
  args.x_stride = x.stride;
  args.w_stride = w.stride;
  args.y_stride = kColumns;
  args.m = static_cast<int32_t>(kRows);
  args.n = static_cast<int32_t>(kColumns);
  args.k = static_cast<int32_t>(kDepth);
  const auto kernel = GpuKernel::Make({}, config);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  const absl::Status status = kernel->Run(args);
  ASSERT_TRUE(status.ok()) << status;
  std::vector<std::byte> row_bytes(static_cast<size_t>(kColumns) * size);
  for (const int64_t row : RowsToCheck()) {
    ASSERT_EQ(
        cudaMemcpy(row_bytes.data(),
                   static_cast<std::byte*>(y.get()) + static_cast<size_t>(row) * row_bytes.size(),
                   row_bytes.size(), cudaMemcpyDeviceToHost),
        cudaSuccess);
    for (int64_t column = 0; column < kColumns; ++column) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < kDepth; ++i) {
        const double term = static_cast<double>(RoundTo(config.compute, x.at(row, i))) *
                            RoundTo(config.compute, w.at(column, i));
        sum += term;
        magnitude += std::fabs(term);
      }
      const double found =
          ReadElement(config.output, &row_bytes[static_cast<size_t>(column) * size]);
      const double rounding = config.output == DataType::kFp32 ? 0x1p-22 : 0x1p-8;
      ASSERT_LE(std::fabs(found - sum), rounding * std::fabs(sum) + 0x1p-20 * magnitude)
          << Name(config) << ": row " << row << ", column " << column << ": expected " << sum
          << ", found " << found;
    }
  }
  std::vector<unsigned char> guard(kGuardBytes);
  ASSERT_EQ(cudaMemcpy(guard.data(), static_cast<std::byte*>(y.get()) + y_bytes, kGuardBytes,
                       cudaMemcpyDeviceToHost),
            cudaSuccess);
  EXPECT_EQ(guard, std::vector<unsigned char>(kGuardBytes, 0xFF));
}

INSTANTIATE_TEST_SUITE_P(Loops, GpuLargeTest, testing::ValuesIn(OneOfEachLoop()), ConfigName);

}  // namespace
}  // namespace mlpserve::cuda
