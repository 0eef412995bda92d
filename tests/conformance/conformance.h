// The one suite that every backend passes, through the seam of server/engine/backend.h. A backend's
// own file instantiates it:
//
//   INSTANTIATE_TEST_SUITE_P(Cpu, BackendConformance, testing::Values(ConformanceBackend{...}),
//                            BackendName);
//
// Every result is held against the float64 oracle with a bound computed for each value, and, where
// compute and wire are FP32, the 2-norm of the error against that of the block in plain FP32.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/reference/oracle.h"
#include "kernels/spec/block.h"
#include "server/engine/backend.h"

namespace mlpserve {

struct ConformanceBackend {
  std::string name;
  std::unique_ptr<Backend> (*make)() = nullptr;  // null where the machine cannot
  int random_blocks = 100;  // of each random test; fewer where loading a block is slow
};

// How GoogleTest names a backend in a failure.
void PrintTo(const ConformanceBackend& backend, std::ostream* out);

std::string BackendName(const testing::TestParamInfo<ConformanceBackend>& info);

class BackendConformance : public testing::TestWithParam<ConformanceBackend> {
 protected:
  void SetUp() override {
    backend_ = GetParam().make();
    if (backend_ == nullptr) GTEST_SKIP() << "this machine has nothing for " << GetParam().name;
  }

  // One batch in a slot whose other rows hold NaN. `x` is representable in the block's input type.
  std::vector<float> Run(const BlockSpec& block, const std::vector<float>& x, int64_t rows);
  // The same on a block that is loaded already, with the last of its slots and outputs.
  static std::vector<float> RunLoaded(LoadedBlock& loaded, const BlockSpec& block,
                                      const std::vector<float>& x, int64_t rows);
  // Prepares and loads; null, and a failure, where it cannot.
  std::unique_ptr<LoadedBlock> Load(const BlockSpec& block, int64_t max_rows);

  // Runs the batch and compares. `what` is printed where it fails.
  void ExpectMatchesOracle(const BlockSpec& block, const std::vector<float>& x, int64_t rows,
                           const std::string& what);
  static void ExpectWithinBounds(const BlockSpec& block, const OracleResult& expected,
                                 const std::vector<float>& x, const std::vector<float>& actual,
                                 const std::string& what);

  std::unique_ptr<Backend> backend_;
};

// Rows of a slot, in the block's format; the rest of it is NaN.
void FillSlot(LoadedBlock& loaded, const BlockSpec& block, const BatchRun& run,
              const std::vector<float>& x);
std::vector<float> ReadOutput(LoadedBlock& loaded, const BlockSpec& block, const BatchRun& run);

// Waits for one batch.
class BatchResult final : public BatchEvents {
 public:
  void OnInputRead(const BatchRun& run) override;
  void OnNearlyDone(const BatchRun& run) override;
  void OnDone(const BatchRun& run, const absl::Status& status, const BatchTiming& timing) override;
  void OnLost(const BatchRun& run, const absl::Status& reason) override;

  absl::Status Wait() { return ended_.get_future().get(); }

 private:
  std::atomic<int> reads_{0};
  std::atomic<int> nears_{0};
  std::promise<absl::Status> ended_;
};

inline constexpr ComputeType kComputeTypes[] = {ComputeType::kFp32, ComputeType::kTf32,
                                                ComputeType::kFp16, ComputeType::kBf16};
inline constexpr DataType kDataTypes[] = {DataType::kFp32, DataType::kFp16, DataType::kBf16};

}  // namespace mlpserve
