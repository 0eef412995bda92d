#include "tests/conformance/conformance.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "kernels/spec/rounding.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {

void PrintTo(const ConformanceBackend& backend, std::ostream* out) { *out << backend.name; }

std::string BackendName(const testing::TestParamInfo<ConformanceBackend>& info) {
  return info.param.name;
}

void BatchResult::OnInputRead(const BatchRun& /*run*/) {
  EXPECT_EQ(reads_.fetch_add(1), 0) << "input was read twice";
}

void BatchResult::OnNearlyDone(const BatchRun& /*run*/) {
  EXPECT_EQ(nears_.fetch_add(1), 0) << "it was nearly done twice";
}

void BatchResult::OnDone(const BatchRun& /*run*/, const absl::Status& status,
                         const BatchTiming& timing) {
  EXPECT_LE(timing.started, timing.infer_started);
  EXPECT_LE(timing.infer_started, timing.infer_ended);
  EXPECT_LE(timing.infer_ended, timing.done);
  ended_.set_value(status);
}

void BatchResult::OnLost(const BatchRun& /*run*/, const absl::Status& reason) {
  ended_.set_value(reason);
}

std::vector<float> BackendConformance::Run(const BlockSpec& block, const std::vector<float>& x,
                                           int64_t rows) {
  const std::unique_ptr<LoadedBlock> loaded = Load(block, rows + 3);
  if (loaded == nullptr) return {};
  return RunLoaded(*loaded, block, x, rows);
}

std::unique_ptr<LoadedBlock> BackendConformance::Load(const BlockSpec& block, int64_t max_rows) {
  absl::Status status = Validate(block);
  if (status.ok()) {
    BatchingOptions options{.max_rows = max_rows};
    options.one_request_per_batch = UsesBatchStatistics(block);
    const absl::StatusOr<Placement> placement = backend_->Prepare(block, options);
    status = placement.status();
    if (placement.ok()) {
      auto loaded = backend_->Load(block, *placement, {});
      if (loaded.ok()) return *std::move(loaded);
      status = loaded.status();
    }
  }
  ADD_FAILURE() << status << "\n" << Describe(block);
  return nullptr;
}

std::vector<float> BackendConformance::RunLoaded(LoadedBlock& loaded, const BlockSpec& block,
                                                 const std::vector<float>& x, int64_t rows) {
  const Placement& placement = loaded.placement();
  const BatchRun run{.slot = placement.slots - 1,
                     .output = placement.outputs - 1,
                     .lane = placement.lanes - 1,
                     .rows = rows};
  while (loaded.ready_rows() < rows) {
    loaded.Grow();
    std::this_thread::yield();
  }
  FillSlot(loaded, block, run, x);
  BatchResult result;
  loaded.Run(run, result);
  const absl::Status status = result.Wait();
  EXPECT_TRUE(status.ok()) << status;
  return ReadOutput(loaded, block, run);
}

void FillSlot(LoadedBlock& loaded, const BlockSpec& block, const BatchRun& run,
              const std::vector<float>& x) {
  const std::span<std::byte> input = loaded.input(run.slot);
  std::ranges::fill(input, std::byte{0xff});  // NaN in every format
  for (size_t i = 0; i < x.size(); ++i) {
    WriteElement(block.input_type, x[i], &input[i * ByteSize(block.input_type)]);
  }
}

std::vector<float> ReadOutput(LoadedBlock& loaded, const BlockSpec& block, const BatchRun& run) {
  const int64_t rows = run.rows;
  const std::span<const std::byte> output = loaded.output(run.output);
  std::vector<float> y(static_cast<size_t>(rows * block.output_features()));
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = ReadElement(block.output_type, &output[i * ByteSize(block.output_type)]);
  }
  return y;
}

void BackendConformance::ExpectMatchesOracle(const BlockSpec& block, const std::vector<float>& x,
                                             int64_t rows, const std::string& what) {
  const std::vector<float> actual = Run(block, x, rows);
  if (actual.empty()) return;
  ExpectWithinBounds(block, EvaluateOracle(block, x, rows), x, actual, what);
}

void BackendConformance::ExpectWithinBounds(const BlockSpec& block, const OracleResult& expected,
                                            const std::vector<float>& x,
                                            const std::vector<float>& actual,
                                            const std::string& what) {
  const WorstValue worst = FindWorst(expected, actual);
  EXPECT_TRUE(worst.ok()) << ToString(worst) << "\n"
                          << what << ", " << expected.rows << " rows, " << Describe(block);
  if (block.compute != ComputeType::kFp32 || block.output_type != DataType::kFp32) return;
  const double plain = RelativeError(expected, EvaluatePlainFp32(block, x, expected.rows));
  const double error = RelativeError(expected, actual);
  EXPECT_LE(error, 8 * plain + 2e-7)
      << "2-norm of the error; plain FP32 has " << plain << "\n"
      << what << ", " << expected.rows << " rows, " << Describe(block);
}

}  // namespace mlpserve
