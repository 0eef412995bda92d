// A backend without arithmetic, for tests of what stands around a backend: batcher, transport,
// lifecycle.
//
// What it computes: y[j] = -x[j mod K], K the input features, by flipping the sign bit. So it is
// exact in every datatype, NaN included, and a row's result tells whose row it was. Weights and
// epilogues are ignored; input and output datatype must be equal.
//
// It watches its caller: a run with a lane, slot or output that is in use or out of range, or with
// rows out of range, ends with INTERNAL and a message, and nothing is computed.
//
// Threads: everything may be called from any thread. The backend must outlive its blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/backend.h"
#include "server/sync/mutex.h"

namespace mlpserve {

enum class FakeMode : uint8_t {
  kInline,   // computes and ends the batch within Run, as the CPU does
  kThreads,  // computes and ends the batch on a thread of its own per lane, as a GPU does
  kHeld,     // keeps batches until the test calls Release
};

// What the fake makes of a row.
std::vector<float> FakeResult(const std::vector<float>& row, int64_t output_features);

class FakeBackend final : public Backend {
 public:
  struct Options {
    FakeMode mode = FakeMode::kInline;
    int lanes = 1;
    int lanes_per_device = 1;
    int slots = 3;
    int outputs = 4;
    Duration run_time = Duration::zero();  // slept in each run
    Duration row_time = Duration::zero();  // slept in each run, for each of its rows
    std::vector<BatchTime> batch_times;    // what the block says of itself
    bool reads_early = false;              // says that the input was read, then sleeps
    int64_t first_rows = 0;                // of a buffer; each Grow doubles them. 0: all
  };

  explicit FakeBackend(Options options);
  ~FakeBackend() override;

  std::string_view name() const override { return "fake"; }
  std::vector<std::string> devices() const override { return {"fake"}; }
  absl::StatusOr<Placement> Prepare(const BlockSpec& block,
                                    const BatchingOptions& options) const override;
  absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                    const Placement& placement,
                                                    const LoadControl& control) override;

  // From now on; OK: they succeed again.
  void FailLoads(absl::Status status);
  void FailRuns(absl::Status status);
  // The device is gone for good: what is held, and every run from now on, is lost.
  void Lose(absl::Status reason);
  // A load waits, reporting progress, until it is stopped or released.
  void HoldLoads(bool hold);
  // Waits until a load is held; false after 10 s.
  bool WaitUntilLoadIsHeld() const;
  // The options of the last load.
  LoadControl last_control() const;

  // kHeld. Of all blocks together, in the order in which they were run.
  int held() const;
  BatchRun held_run(int index) const;
  // Waits until at least `count` are held; false after 10 s.
  bool WaitUntilHeld(int count) const;
  // Computes one that is held, so that its slot is free, and says so; the batch goes on.
  void ReadInput(int index = 0);
  // Says of one that is held that it is nearly done.
  void NearEnd(int index = 0);
  // Ends one that is held, on the calling thread, which gets its events.
  void Release(int index = 0);
  // Ends what is held, and what that leads to, until nothing is.
  void ReleaseAll();

 private:
  class Block;

  struct Held {
    Block* block = nullptr;
    BatchRun run;
    BatchEvents* events = nullptr;
    bool read = false;  // its input
  };

  absl::Status run_status() const;
  absl::Status lost() const;
  absl::Status AwaitLoad(const LoadControl& control);
  void Hold(const Held& held);
  Held TakeHeld(int index);

  const Options options_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  absl::Status load_status_ ABSL_GUARDED_BY(mutex_);
  absl::Status run_status_ ABSL_GUARDED_BY(mutex_);
  absl::Status lost_ ABSL_GUARDED_BY(mutex_);
  bool holds_loads_ ABSL_GUARDED_BY(mutex_) = false;
  int loads_held_ ABSL_GUARDED_BY(mutex_) = 0;
  LoadControl last_control_ ABSL_GUARDED_BY(mutex_);
  std::deque<Held> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mlpserve
