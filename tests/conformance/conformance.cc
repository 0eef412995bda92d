#include "tests/conformance/conformance.h"

#include <algorithm>
#include <cstring>
#include <future>

#include "kernels/spec/rounding.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {

void PrintTo(const ConformanceBackend& backend, std::ostream* out) { *out << backend.name; }

std::string BackendName(const testing::TestParamInfo<ConformanceBackend>& info) {
  return info.param.name;
}

std::vector<float> BackendConformance::Run(const BlockSpec& block, const std::vector<float>& x,
                                           int64_t rows) {
  const absl::Status valid = Validate(block);
  if (!valid.ok()) {
    ADD_FAILURE() << valid << "\n" << Describe(block);
    return {};
  }
  const LoadOptions options{.max_rows = rows + 3, .slots = 2, .outputs = 2};
  absl::StatusOr<std::unique_ptr<LoadedBlock>> loaded = backend_->Load(block, options);
  if (!loaded.ok()) {
    ADD_FAILURE() << loaded.status() << "\n" << Describe(block);
    return {};
  }
  return RunLoaded(**loaded, block, options, x, rows);
}

std::vector<float> BackendConformance::RunLoaded(LoadedBlock& loaded, const BlockSpec& block,
                                                 const LoadOptions& options,
                                                 const std::vector<float>& x, int64_t rows) {
  const BatchRun run{.slot = options.slots - 1,
                     .output = options.outputs - 1,
                     .lane = loaded.lanes() - 1,
                     .rows = rows};
  const std::span<std::byte> input = loaded.input(run.slot);
  std::ranges::fill(input, std::byte{0xff});  // NaN in every format
  for (size_t i = 0; i < x.size(); ++i) {
    WriteElement(block.input_type, x[i], &input[i * ByteSize(block.input_type)]);
  }
  std::promise<absl::Status> done;
  loaded.Run(run, [&done](const absl::Status& status, const BatchTiming& timing) {
    EXPECT_LE(timing.started, timing.infer_started);
    EXPECT_LE(timing.infer_started, timing.infer_ended);
    EXPECT_LE(timing.infer_ended, timing.done);
    done.set_value(status);
  });
  const absl::Status status = done.get_future().get();
  EXPECT_TRUE(status.ok()) << status;

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
