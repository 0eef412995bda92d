// What a thread that is inside a Batcher carries from one hold of the lock to the next. For
// batcher.cc and turn.cc only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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

// A batch that has ended, until its requests are settled.
struct Batcher::Ended {
  int lane = -1;  // -1: none has
  absl::Status status;
  BatchTiming timing;
  int output = -1;  // once the policy was told; the pieces are in it
  std::span<const BatchPolicy::Piece> pieces;
  std::vector<OutputRows> copies;  // of the pieces in turn; empty: the output itself is lent
};

// What the observer is told of a batch.
struct Batcher::Report {
  int64_t rows;
  absl::Status status;
  BatchTiming timing;
};

// What one thread does outside of the lock between two times that it holds it.
struct Batcher::Turn {
  bool own_thread = false;
  bool nested = false;  // within OnDone, within Work
  int runs = 0;
  TimePoint entered;

  std::optional<BatchRun> run;  // start this, first of all
  bool returned_early = false;  // it was still running when `run` returned
  Ended ended;                  // tell the policy, or copy its output
  std::optional<Report> report;
  absl::InlinedVector<Delivery, 2> deliveries;
  BatchPolicy::Actions actions;
  absl::InlinedVector<InferRequest*, 4> sources;  // of actions.copies in turn
  size_t copied = 0;                              // of actions.copies, the first so many are done

  bool HasWork() const {
    return run || ended.lane >= 0 || report || !deliveries.empty() || !actions.copies.empty();
  }
};

}  // namespace mlpserve
