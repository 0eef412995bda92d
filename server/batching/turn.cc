#include "server/batching/turn.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "server/batching/copied_rows.h"
#include "server/batching/row_copy.h"

namespace mlpserve {

// The life of a thread inside: it does what its turn says, without the lock; then it takes the lock
// to say so and to take its next turn.
void Batcher::Work(Turn& turn) {
  for (;;) {
    if (turn.run) Run(turn);
    Deliver(turn);
    CopyIn(turn);
    if (turn.copy_out) CopyOut(*turn.copy_out);
    MutexLock lock(mutex_);
    if (!Advance(turn)) return;
  }
}

void Batcher::Run(Turn& turn) {
  const int index = turn.run->lane;
  if (std::exchange(turn.grow, false)) runner_.Grow();
  runner_.Run(*turn.run, *this);
  ++turn.runs;
  turn.run.reset();
  if (lanes_[Index(index)].IsSecond()) turn.ended_lane = index;
}

void Batcher::OnInputRead(const BatchRun& run) {
  Turn turn;
  {
    MutexLock lock(mutex_);
    Enter(turn);
    policy_.InputRead(turn.entered, run.lane, turn.actions);
    if (!Advance(turn)) return;
  }
  Work(turn);
}

void Batcher::OnNearlyDone(const BatchRun& run) {
  Turn turn;
  {
    MutexLock lock(mutex_);
    Enter(turn);
    policy_.NearlyDone(turn.entered, run.lane);
    if (!Advance(turn)) return;
  }
  Work(turn);
}

void Batcher::OnDone(const BatchRun& run, const absl::Status& status, const BatchTiming& timing) {
  Lane& lane = lanes_[Index(run.lane)];
  // Not shared with the caller, whose thread may be another: see BatchPolicy::Settle.
  lane.status = status.ok() ? absl::OkStatus() : absl::Status(status.code(), status.message());
  lane.timing = timing;
  if (!lane.IsSecond()) return;
  Turn turn;
  turn.ended_lane = run.lane;
  {
    MutexLock lock(mutex_);
    Enter(turn);
    if (!Advance(turn)) return;
  }
  Work(turn);
}

void Batcher::OnLost(const BatchRun& run, const absl::Status& reason) {
  if (observer_ != nullptr) observer_->OnLost(reason);
  const TimePoint now = Clock::now();
  OnDone(run, absl::UnavailableError(reason.message()), {now, now, now, now});
}

void Batcher::Deliver(Turn& turn) {
  if (turn.report && observer_ != nullptr) {
    observer_->OnBatch(turn.report->rows, turn.report->status, turn.report->timing);
  }
  turn.report.reset();
  for (Delivery& delivery : turn.deliveries) {
    if (delivery.eviction && observer_ != nullptr) observer_->OnEviction(*delivery.eviction);
    if (delivery.status.ok()) {
      Timing& timing = delivery.request->timing;
      timing.batch_started = delivery.timing.started;
      timing.infer_started = delivery.timing.infer_started;
      timing.infer_ended = delivery.timing.infer_ended;
      timing.done = delivery.timing.done;
    }
    delivery.request->OnDone(std::move(delivery.status),
                             {delivery.outputs.data(), delivery.outputs.size()});
  }
  turn.deliveries.clear();
}

// The rows of one slot at a time: it may run while the next is filled.
void Batcher::CopyIn(Turn& turn) {
  const auto& copies = turn.actions.copies;
  const auto row_bytes = static_cast<size_t>(buffers_.input_row_bytes);
  size_t i = 0;
  for (; i < copies.size() && copies[i].slot == copies[0].slot; ++i) {
    const BatchPolicy::Piece& piece = copies[i].piece;
    const InferRequest& request = *turn.sources[i];
    const size_t offset = static_cast<size_t>(piece.first_row) * row_bytes;
    const auto to = buffers_.slots[Index(copies[i].slot)].subspan(
        static_cast<size_t>(piece.slot_row) * row_bytes,
        static_cast<size_t>(piece.rows) * row_bytes);
    if (request.source != nullptr) {
      request.source->Read(offset, to);
    } else {
      CopyBytes(request.input, offset, to);
    }
  }
  turn.copied = i;
}

std::span<const std::byte> Batcher::ResultsOf(int output, const BatchPolicy::Piece& piece) const {
  const auto row_bytes = static_cast<size_t>(buffers_.output_row_bytes);
  return buffers_.outputs[Index(output)].subspan(static_cast<size_t>(piece.slot_row) * row_bytes,
                                                 static_cast<size_t>(piece.rows) * row_bytes);
}

void Batcher::CopyOut(Results& results) {
  results.copies.reserve(results.pieces.size());
  for (const BatchPolicy::Piece& piece : results.pieces) {
    results.copies.push_back(CopiedRows::Make(ResultsOf(results.output, piece), copied_bytes_));
  }
}

// --- under the lock ---

void Batcher::Enter(Turn& turn) {
  inside_.push_back(&turn);
  turn.entered = Clock::now();
  CollectReleased();
  policy_.SetSlotRows(runner_.ready_rows());
}

// Says what the thread has done, and takes what it does next. False: nothing, it leaves, and must
// not touch the batcher again.
bool Batcher::Advance(Turn& turn) {
  CollectReleased();
  const TimePoint now = Clock::now();
  if (turn.copied > 0) EndCopies(turn, now);
  if (turn.copy_out) GiveOut(*std::exchange(turn.copy_out, std::nullopt), turn, now);
  if (turn.ended_lane >= 0) EndBatch(turn, now);
  policy_.Tick(now, turn.actions);
  Resolve(turn);
  FindSources(turn);
  TakeRun(turn, now);
  WakeEarlierIfNeeded();
  if (turn.HasWork()) return true;
  Leave(turn);
  return false;
}

void Batcher::Leave(Turn& turn) {
  *std::find(inside_.begin(), inside_.end(), &turn) = inside_.back();
  inside_.pop_back();
  if (drain_waiters_ > 0 && inside_.empty() && policy_.Idle()) drained_.NotifyAll();
}

void Batcher::EndCopies(Turn& turn, TimePoint now) {
  auto& copies = turn.actions.copies;
  const auto count = static_cast<std::ptrdiff_t>(std::exchange(turn.copied, 0));
  policy_.CopyDone(now, {copies.data(), static_cast<size_t>(count)}, turn.actions);
  copies.erase(copies.begin(), copies.begin() + count);
  turn.sources.erase(turn.sources.begin(), turn.sources.begin() + count);
}

void Batcher::EndBatch(Turn& turn, TimePoint now) {
  const int index = std::exchange(turn.ended_lane, -1);
  Lane& lane = lanes_[Index(index)];
  turn.report = Report{.rows = lane.rows, .status = std::move(lane.status), .timing = lane.timing};
  const BatchPolicy::Ended ended = policy_.BatchDone(now, index, turn.actions);
  if (!turn.report->status.ok()) {
    policy_.Delivered(now, ended.output, turn.report->status, turn.actions);
    return;
  }
  Results results = {.output = ended.output,
                     .timing = lane.timing,
                     .pieces = policy_.Pieces(ended.output),
                     .copies = {}};
  if (ended.copy_out) {
    turn.copy_out = std::move(results);
  } else {
    GiveOut(std::move(results), turn, now);
  }
}

// Gives the results to the requests that are there to take them.
void Batcher::GiveOut(Results results, Turn& turn, TimePoint now) {
  const bool lent = results.copies.empty();
  int leases = 0;
  for (size_t i = 0; i < results.pieces.size(); ++i) {
    const BatchPolicy::Piece& piece = results.pieces[i];
    if (!policy_.Alive(piece.ticket)) continue;
    OutputRows rows;
    if (lent) {
      rows = {.bytes = ResultsOf(results.output, piece),
              .lease = OutputLease(&ReleaseOutput, &lent_[Index(results.output)])};
      ++leases;
    } else {
      rows = std::move(results.copies[i]);
    }
    pending_[Index(piece.ticket)].Add(piece.first_row, std::move(rows), results.timing);
  }
  policy_.Delivered(now, results.output, absl::OkStatus(), turn.actions);
  if (!lent) return;
  lent_[Index(results.output)].leases.store(leases, std::memory_order_relaxed);  // none is out yet
  if (leases == 0) policy_.OutputReleased(results.output);
}

void Batcher::Pending::Add(int64_t first_row, OutputRows rows, const BatchTiming& of_batch) {
  const auto at =
      std::upper_bound(first_rows.begin(), first_rows.end(), first_row) - first_rows.begin();
  outputs.insert(outputs.begin() + at, std::move(rows));
  first_rows.insert(first_rows.begin() + at, first_row);
  if (outputs.size() == 1) {
    timing = of_batch;
    return;
  }
  timing.started = std::min(timing.started, of_batch.started);
  timing.infer_started = std::min(timing.infer_started, of_batch.infer_started);
  timing.infer_ended = std::max(timing.infer_ended, of_batch.infer_ended);
  timing.done = std::max(timing.done, of_batch.done);
}

// Takes what completes out of the tables: its tickets may be given out again.
void Batcher::Resolve(Turn& turn) {
  for (BatchPolicy::Completion& completion : turn.actions.completions) {
    Pending& pending = pending_[Index(completion.ticket)];
    Delivery& delivery = turn.deliveries.emplace_back();
    delivery.request = std::exchange(pending.request, nullptr);
    delivery.eviction = completion.eviction;
    if (completion.status.ok()) {
      delivery.outputs = std::move(pending.outputs);
      delivery.timing = pending.timing;
    }
    delivery.status = std::move(completion.status);
    pending.outputs.clear();
    pending.first_rows.clear();
  }
  turn.actions.completions.clear();
}

void Batcher::FindSources(Turn& turn) {
  const auto& copies = turn.actions.copies;
  while (turn.sources.size() < copies.size()) {
    const BatchPolicy::Ticket ticket = copies[turn.sources.size()].piece.ticket;
    turn.sources.push_back(pending_[Index(ticket)].request);
  }
}

void Batcher::TakeRun(Turn& turn, TimePoint now) {
  if (!policy_.CanDispatch()) return;
  if (buffers_.runs_inline && !MayRunInline(turn)) return;
  turn.run = policy_.Dispatch(now);
  turn.grow = turn.run->rows == policy_.slot_rows() && turn.run->rows < options_.max_rows;
  Lane& lane = lanes_[Index(turn.run->lane)];
  lane.rows = turn.run->rows;
  lane.half_done.store(false, std::memory_order_relaxed);
  if (buffers_.runs_inline && policy_.CanDispatch()) HandOver();  // a second lane idles
}

// Whether the thread goes into a run, which ends when the batch does. False: it comes here again
// soon, or a runner has been asked to come.
bool Batcher::MayRunInline(const Turn& turn) {
  if (turn.HasWork()) return false;  // results do not wait for a run, nor do rows
  for (const Turn* other : inside_) {
    // It is within OnDone. Runs would pile up on its stack; its outer turn comes to it.
    if (other != &turn && other->thread == turn.thread) return false;
  }
  switch (turn.role) {
    case Role::kWaker:
      HandOver();
      return false;
    case Role::kRunner:
      if (turn.runs == 0 || !threads_.clients_wait()) return true;
      HandOver();
      return false;
    case Role::kCaller:
      break;
  }
  // The thread reads and answers requests, of other blocks too, and refuses those that are too
  // many.
  if (policy_.NextRunTime() > options_.help_limit && (ARunnerComes() || TryHandOver()))
    return false;
  if (turn.runs == 0 || handed_over_) return true;
  return Clock::now() - turn.entered < options_.help_limit || !TryHandOver();
}

// To every lane that has something to run.
bool Batcher::ARunnerComes() const {
  return handed_over_ ||
         (lanes_.size() == 1 && std::any_of(inside_.begin(), inside_.end(), [](const Turn* turn) {
            return turn->role == Role::kRunner;
          }));
}

void Batcher::HandOver() {
  if (!std::exchange(handed_over_, true)) threads_.HandOver(*this);
}

bool Batcher::TryHandOver() {
  handed_over_ = threads_.TryHandOver(*this);
  return handed_over_;
}

void Batcher::WakeEarlierIfNeeded() {
  if (policy_.NextWake() >= wake_at_) return;
  wake_at_ = policy_.NextWake();
  threads_.WakeAt(*this, wake_at_);
}

// Tells the policy of the outputs that nobody reads any more. No lane waits for that (policy.h), so
// that it can wait for whoever comes next.
void Batcher::CollectReleased() {
  if (released_.load(std::memory_order_relaxed) == 0) return;
  for (uint64_t bits = released_.exchange(0, std::memory_order_acquire); bits != 0;
       bits &= bits - 1) {
    policy_.OutputReleased(std::countr_zero(bits));
  }
}

void Batcher::ReleaseOutput(void* lent) {
  auto& of = *static_cast<LentOutput*>(lent);
  const uint64_t released = uint64_t{1} << of.output;
  std::atomic<uint64_t>& all = of.batcher->released_;
  if (of.leases.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  all.fetch_or(released, std::memory_order_release);  // the last touch
}

}  // namespace mlpserve
