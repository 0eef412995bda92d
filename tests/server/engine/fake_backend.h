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
#include <functional>
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
  kInline,   // computes and calls done within Run, as the CPU does
  kThreads,  // computes and calls done on a thread of its own per lane, as a GPU does
  kHeld,     // keeps batches until the test calls Release
};

// What the fake makes of a row.
std::vector<float> FakeResult(const std::vector<float>& row, int64_t output_features);

class FakeBackend final : public Backend {
 public:
  struct Options {
    FakeMode mode = FakeMode::kInline;
    int lanes = 1;
    Duration run_time = Duration::zero();  // slept in each run
  };

  explicit FakeBackend(Options options);
  ~FakeBackend() override;

  std::string_view name() const override { return "fake"; }
  std::vector<std::string> devices() const override { return {"fake"}; }
  absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                    const LoadOptions& options) override;

  // From now on; OK: they succeed again.
  void FailLoads(absl::Status status);
  void FailRuns(absl::Status status);

  // kHeld. Of all blocks together, in the order in which they were run.
  int held() const;
  BatchRun held_run(int index) const;
  // Waits until at least `count` are held; false after 10 s.
  bool WaitUntilHeld(int count) const;
  // Finishes one that is held, on the calling thread, which runs its done.
  void Release(int index = 0);
  // Finishes what is held, and what that leads to, until nothing is.
  void ReleaseAll();

 private:
  class Block;

  struct Held {
    Block* block;
    BatchRun run;
    BatchDone done;
  };

  absl::Status run_status() const;
  void Hold(Block* block, const BatchRun& run, const BatchDone& done);

  const Options options_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  absl::Status load_status_ ABSL_GUARDED_BY(mutex_);
  absl::Status run_status_ ABSL_GUARDED_BY(mutex_);
  std::deque<Held> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mlpserve
