// What a thread that is inside a Batcher carries from one hold of the lock to the next. For
// batcher.cc and turn.cc only.
//
// A Turn lies on the stack of its thread and belongs to it alone; while it is in Batcher::inside_,
// others read `thread`, which never changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "server/batching/batcher.h"

namespace mlpserve {

// An answer that is to be given.
struct Delivery {
  InferRequest* request = nullptr;
  absl::Status status;
  std::optional<Eviction> eviction;
  absl::InlinedVector<OutputRows, 1> outputs;
  BatchTiming timing;
};

// What the observer is told of a batch.
struct Batcher::Report {
  int64_t rows;
  absl::Status status;
  BatchTiming timing;
};

// What a batch computed, from when the policy is told of its end until requests have it.
struct Batcher::Results {
  int output;
  BatchTiming timing;
  std::span<const BatchPolicy::Piece> pieces;  // that lie in the output
  std::vector<OutputRows> copies;              // of the pieces in turn; empty: they are lent
};

// Whose thread it is.
enum class Role : uint8_t {
  kCaller,  // Submit's or Cancel's, or the backend's
  kWaker,   // BatchThreads': every batcher waits for it
  kRunner,  // BatchThreads': for running batches
};

struct Batcher::Turn {
  const std::thread::id thread = std::this_thread::get_id();
  Role role = Role::kCaller;
  TimePoint entered;
  int runs = 0;  // batches that it has run

  // To do without the lock, in this order: run, report, deliver, copy in, copy out.
  std::optional<BatchRun> run;
  bool grow = false;  // the batch is as large as batches can be, but not as they may
  std::optional<Report> report;
  absl::InlinedVector<Delivery, 2> deliveries;
  BatchPolicy::Actions actions;                   // its copies; completions become deliveries
  absl::InlinedVector<InferRequest*, 4> sources;  // of actions.copies in turn
  std::optional<Results> copy_out;                // their output must not be lent

  // Done, and to be told with the lock.
  int ended_lane = -1;  // the lane's batch has ended; -1: none
  size_t copied = 0;    // so many of actions.copies, from the first on

  bool HasWork() const {
    return run || report || !deliveries.empty() || !actions.copies.empty() || copy_out;
  }
};

}  // namespace mlpserve
