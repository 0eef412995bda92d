// Gathers the rows of many requests for one block into batches, and gives the results back.
//
// What it is: the thread-safe shell around BatchPolicy (policy.h), which decides everything: what
// goes where, what is refused, what has expired, what runs next, and how long a request waits at
// most. This shell adds the lock, the clock, the copies and the calls.
//
// What it is not: it knows no gRPC, no CUDA and no engine. Batches are run by a BatchRunner.
//
// Threads. Every function may be called from any thread. The mutex is held for decisions only:
// rows are copied, batches run and OnDone is called outside of it.
// - The thread that calls Submit copies the request's rows into a slot. If that completes a batch
//   and a lane is idle, it calls Run itself.
// - With a backend that computes inside Run (runs_inline: the CPU), that thread also delivers the
//   results and goes on with the next batch, in a loop, as long as one is ready: handing a small
//   request to another thread costs more than computing it. Other threads of the transport poll
//   meanwhile, and their requests fill the next batch. It is kept for `help_limit` plus the batch
//   that it is in: then one of BatchThreads' runners takes over, if one is idle, or has done so
//   already and takes another lane. A batch that is expected to take longer than `help_limit` is
//   a runner's from the start, if one is idle: whoever submits goes back to the transport, which
//   reads, answers and refuses requests while the batch runs.
// - With a backend that answers later, on a thread of its own, the thread that says that the batch
//   is done starts the next batch first, then delivers, then copies waiting rows into the slot that
//   became free. If Run has not returned by then, the thread that is in it does so. Where the
//   backend says earlier that the input was read, that thread fills the slot; where it says that a
//   device is nearly done, that thread starts the batch that follows on another of its lanes.
// - The thread of BatchThreads that wakes batchers comes at the policy's next wake (a queue delay
//   or a deadline that has come). A request moves it only to an earlier time. What is to be
//   computed then, a runner computes.
//
// Output buffers. Results are given out where they lie, under an OutputLease. At most
// outputs - lanes buffers are lent at a time, so that a lane never waits for a reader; when that
// many are out, results are copied to the heap, row range by row range, and given out under a lease
// on the copy. Dropping a lease takes one or two atomic operations, wakes nobody and takes no lock.
//
// Bounds. Memory: the buffers, at most BatchPolicy::kMostBuffers of a kind; max_queued_rows
// requests that wait uncopied; and copied results of at most max_copied_bytes plus the rows that
// were admitted before that was reached. A batch, and so a copy of its results, has at most
// max_rows requests in it. Time: policy.h.
//
// Nothing is lost: OnDone is called exactly once for every request, whatever becomes of its
// batches. If a batch fails, its requests get its status, and no others. If the device is lost,
// they get UNAVAILABLE, and so does everybody who comes later, as soon as its batch has been tried.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/batching/batch_threads.h"
#include "server/batching/observer.h"
#include "server/batching/policy.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/batch.h"
#include "server/vocabulary/batch_time.h"
#include "server/vocabulary/batching_options.h"
#include "server/vocabulary/queue_state.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

// The memory that batches live in. Not owned; must outlive the Batcher. At least one slot and one
// lane, an output for each lane, and at most BatchPolicy::kMostBuffers (64) of each.
struct BatchBuffers {
  std::vector<std::span<std::byte>> slots;    // each [max_rows, input_row_bytes]
  std::vector<std::span<std::byte>> outputs;  // each [max_rows, output_row_bytes]
  int64_t input_row_bytes = 0;
  int64_t output_row_bytes = 0;
  int lanes = 1;                       // batches that may run at a time
  int lanes_per_device = 1;            // lane i is of device i / lanes_per_device
  bool runs_inline = false;            // a batch has ended when Run returns
  std::vector<BatchTime> batch_times;  // as measured at load; may be empty
};

class Batcher final : public InferSink, private BatchThreads::Client, private BatchEvents {
 public:
  // `observer` may be null. It, the runner and the threads must outlive the Batcher.
  // Errors: INVALID_ARGUMENT, naming the option or buffer, what was expected and what came.
  static absl::StatusOr<std::unique_ptr<Batcher>> Create(const BatchingOptions& options,
                                                         BatchBuffers buffers, BatchRunner& runner,
                                                         BatchThreads& threads,
                                                         BatchObserver* observer);

  // Waits as Drain does, and then until every OutputLease has been dropped. Nobody may call Submit
  // or Cancel any more. Not to be called within OnDone.
  ~Batcher() override;
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Statuses that OnDone is called with, besides those of batches:
  //   INVALID_ARGUMENT    no rows, or more than can ever be held; input bytes that are not rows *
  //                       bytes per row; a priority outside of the levels
  //   RESOURCE_EXHAUSTED  the queue is full, or too long for the request's deadline or timeout, or
  //                       too many results wait to be read; `retry_after` is set if known
  //   DEADLINE_EXCEEDED   the deadline passed, or can no longer be met; or the queue timeout passed
  //                       before it began to run
  //   CANCELLED           Cancel was called
  // Submit within OnDone only queues: the request runs after OnDone returns.
  void Submit(InferRequest& request) override;
  void Cancel(InferRequest& request) override;

  // Waits until no request is queued or in flight and no thread is inside. Leases may still be out.
  // Requests are not refused meanwhile; the caller stops them. Not to be called within OnDone.
  void Drain();

  // Takes the lock for a moment: for a scrape, not for every request.
  QueueState stats() const;

 private:
  struct Turn;
  struct Report;
  struct Results;

  // A request that is with the batcher, by its ticket.
  struct Pending {
    InferRequest* request = nullptr;  // null: none, or completed
    // What is delivered so far, by first row.
    absl::InlinedVector<OutputRows, 1> outputs;
    absl::InlinedVector<int64_t, 1> first_rows;
    BatchTiming timing;

    void Add(int64_t first_row, OutputRows rows, const BatchTiming& of_batch);
  };

  // The batch that a lane runs. Two things end it, in any order and perhaps on two threads: Run
  // returns, and the batch's last event comes. The first lets go; the second goes on with the
  // batch, and the lane is not used again before it has.
  struct Lane {
    int64_t rows = 0;
    absl::Status status;  // this and the next as the last event told
    BatchTiming timing;
    std::atomic<bool> half_done{false};

    // To be asked once by each of the two.
    bool IsSecond() {
      return half_done.load(std::memory_order_acquire) ||
             half_done.exchange(true, std::memory_order_acq_rel);
    }
  };

  Batcher(const BatchingOptions& options, const BatchPolicy::Options& policy, BatchBuffers buffers,
          BatchRunner& runner, BatchThreads& threads, BatchObserver* observer);

  // What a lease points to.
  struct LentOutput {
    Batcher* batcher = nullptr;
    int output = 0;
    std::atomic<int> leases{0};
  };

  static size_t Index(int i) { return static_cast<size_t>(i); }
  static void ReleaseOutput(void* lent);

  absl::Status CheckInput(const InferRequest& request) const;
  std::span<const std::byte> ResultsOf(int output, const BatchPolicy::Piece& piece) const;

  void OnWake() override;
  void OnRunner() override;
  void OnInputRead(const BatchRun& run) override;
  void OnNearlyDone(const BatchRun& run) override;
  void OnDone(const BatchRun& run, const absl::Status& status, const BatchTiming& timing) override;
  void OnLost(const BatchRun& run, const absl::Status& reason) override;

  // Outside of the lock.
  void Work(Turn& turn) ABSL_LOCKS_EXCLUDED(mutex_);
  void Run(Turn& turn);
  void Deliver(Turn& turn);
  void CopyIn(Turn& turn);
  void CopyOut(Results& results);

  // Under the lock.
  void Enter(Turn& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Advance(Turn& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(Turn& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndCopies(Turn& turn, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndBatch(Turn& turn, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveOut(Results results, Turn& turn, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FindSources(Turn& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Resolve(Turn& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeRun(Turn& turn, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayRunInline(const Turn& turn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectReleased() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeEarlierIfNeeded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool ARunnerComes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TryHandOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const BatchingOptions options_;
  const BatchBuffers buffers_;
  BatchRunner& runner_;
  BatchThreads& threads_;
  BatchObserver* const observer_;
  std::deque<Lane> lanes_;  // as many as the policy's; what guards them: Lane

  mutable Mutex mutex_;
  BatchPolicy policy_ ABSL_GUARDED_BY(mutex_);
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);  // by ticket
  // What is between Enter and Leave: one turn for each thread that is inside, and one more for each
  // Submit or Cancel within OnDone. In no order.
  absl::InlinedVector<const Turn*, 16> inside_ ABSL_GUARDED_BY(mutex_);
  int drain_waiters_ ABSL_GUARDED_BY(mutex_) = 0;
  CondVar drained_;

  // OnWake comes at this time at the latest; max: it does not.
  TimePoint wake_at_ ABSL_GUARDED_BY(mutex_) = TimePoint::max();
  bool handed_over_ ABSL_GUARDED_BY(mutex_) = false;  // OnRunner will come

  // Results that are out: the leases of each output; a bit for each output that nobody reads any
  // more and that the policy has not been told of.
  std::unique_ptr<LentOutput[]> lent_;
  std::atomic<uint64_t> released_{0};
  static_assert(BatchPolicy::kMostBuffers <= 64);
  std::atomic<int64_t> copied_bytes_{0};
};

}  // namespace mlpserve
