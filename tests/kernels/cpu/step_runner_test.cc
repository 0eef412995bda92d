// Which threads come, and when, changes neither the result nor its bits.
#include "kernels/cpu/step_runner.h"

#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/cpu_block.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve::cpu {
namespace {

constexpr int kThreads = 4;
constexpr int64_t kRows = 29;

class StepRunnerTest : public testing::TestWithParam<uint64_t> {
 protected:
  StepRunnerTest()
      : spec_(RandomBlock({.features = {300, 700, 130, 300},
                           .max_depth = 1,
                           .batch_statistics = GetParam() % 2 == 1},
                          GetParam())),
        packed_(PackedBlock::Create(spec_, false, kThreads).value()),
        runner_(packed_, kRows, kThreads),
        output_(static_cast<size_t>(kRows * spec_.output_features())) {
    std::mt19937_64 random(GetParam());
    input_ = RandomRows(kRows, spec_.input_features(), DataType::kFp32, random);
    batch_ = {.input = reinterpret_cast<const std::byte*>(input_.data()),
              .output = reinterpret_cast<std::byte*>(output_.data()),
              .rows = kRows};
    runner_.Prepare();
  }

  // By one thread that computes whole layers.
  std::vector<float> Expected() {
    std::vector<float> expected(output_.size());
    const auto block = CpuBlock::Create(spec_, {.max_rows = kRows}).value();
    block->Run(batch_.input, reinterpret_cast<std::byte*>(expected.data()), kRows);
    return expected;
  }

  const Plan plan_{.by_chunks = false, .chunk_rows = 10, .threads = kThreads};
  BlockSpec spec_;
  PackedBlock packed_;
  StepRunner runner_;
  std::vector<float> input_;
  std::vector<float> output_;
  Batch batch_;
};

TEST_P(StepRunnerTest, OneThreadDoesTheSharesOfThoseThatDoNotCome) {
  runner_.Run(batch_, plan_, 2);
  EXPECT_EQ(output_, Expected());
  runner_.Run(batch_, plan_, 0);  // too late: nothing is left, and it is not kept
  EXPECT_EQ(output_, Expected());
}

TEST_P(StepRunnerTest, ThreadsAtOnceGiveTheSameBits) {
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] { runner_.Run(batch_, plan_, thread); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(output_, Expected());
}

INSTANTIATE_TEST_SUITE_P(Blocks, StepRunnerTest, testing::Range<uint64_t>(0, 12));

}  // namespace
}  // namespace mlpserve::cpu
