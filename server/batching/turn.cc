#include "server/batching/turn.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "server/batching/copied_rows.h"
#include "server/batching/row_copy.h"

namespace mlpserve {
namespace {

// A batch that is being run by this thread: done tells its result here instead of delivering it.
struct InlineRun {
  const Batcher* batcher;
  int lane;
  bool ended = false;
  absl::Status status;
  BatchTiming timing;
};

thread_local InlineRun* running = nullptr;
// The batcher whose work this thread is in the midst of, while it is in OnDone; the outermost.
thread_local const Batcher* working = nullptr;

}  // namespace

// The life of a thread inside: it does what its turn says, without the lock; then it takes the lock
// to say so and to take its next turn.
void Batcher::Work(Turn& turn) {
  for (;;) {
    if (turn.run) Run(turn);
    Deliver(turn);
    CopyIn(turn);
    CopyOut(turn);
    MutexLock lock(mutex_);
    if (!Advance(turn)) return;
  }
}

void Batcher::Run(Turn& turn) {
  InlineRun here = {.batcher = this, .lane = turn.run->lane, .status = {}, .timing = {}};
  InlineRun* const outer = std::exchange(running, &here);
  run_(*turn.run, done_[static_cast<size_t>(here.lane)]);
  running = outer;
  ++turn.runs;
  turn.run.reset();
  if (here.ended) {
    turn.ended.lane = here.lane;
    turn.ended.status = std::move(here.status);
    turn.ended.timing = here.timing;
  } else {
    turn.returned_early = true;
  }
}

void Batcher::OnBatchDone(int lane, const absl::Status& status, const BatchTiming& timing) {
  if (running != nullptr && running->batcher == this && running->lane == lane) {
    running->ended = true;
    running->status = status;
    running->timing = timing;
    return;
  }
  Turn turn;
  turn.ended.lane = lane;
  turn.ended.status = status;
  turn.ended.timing = timing;
  {
    MutexLock lock(mutex_);
    Enter(turn);
    if (!Advance(turn)) return;
  }
  Work(turn);
}

void Batcher::Deliver(Turn& turn) {
  if (turn.report) {
    if (observer_ != nullptr) {
      observer_->OnBatch(turn.report->rows, turn.report->status, turn.report->timing);
    }
    turn.report.reset();
  }
  if (turn.deliveries.empty()) return;
  const Batcher* const outer = std::exchange(working, working == nullptr ? this : working);
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
  working = outer;
}

// The rows of one slot at a time: it may run while the next is filled.
void Batcher::CopyIn(Turn& turn) {
  const auto& copies = turn.actions.copies;
  const auto row_bytes = static_cast<size_t>(buffers_.input_row_bytes);
  size_t i = 0;
  for (; i < copies.size() && copies[i].slot == copies[0].slot; ++i) {
    const BatchPolicy::Piece& piece = copies[i].piece;
    const std::span<std::byte> slot = buffers_.slots[static_cast<size_t>(copies[i].slot)];
    CopyBytes(turn.sources[i]->input, static_cast<size_t>(piece.first_row) * row_bytes,
              slot.subspan(static_cast<size_t>(piece.slot_row) * row_bytes,
                           static_cast<size_t>(piece.rows) * row_bytes));
  }
  turn.copied = i;
}

std::span<const std::byte> Batcher::ResultsOf(int output, const BatchPolicy::Piece& piece) const {
  const auto row_bytes = static_cast<size_t>(buffers_.output_row_bytes);
  return buffers_.outputs[static_cast<size_t>(output)].subspan(
      static_cast<size_t>(piece.slot_row) * row_bytes, static_cast<size_t>(piece.rows) * row_bytes);
}

void Batcher::CopyOut(Turn& turn) {
  if (turn.ended.output < 0) return;
  for (const BatchPolicy::Piece& piece : turn.ended.pieces) {
    turn.ended.copies.push_back(
        CopiedRows::Make(ResultsOf(turn.ended.output, piece), copied_bytes_));
  }
}

// --- under the lock ---

void Batcher::Enter(Turn& turn) {
  ++inside_;
  turn.entered = Clock::now();
  turn.nested = working != nullptr;
  CollectReleased();
}

// Says what the thread has done, and takes what it does next. False: nothing, it leaves, and must
// not touch the batcher again.
bool Batcher::Advance(Turn& turn) {
  const TimePoint now = Clock::now();
  CollectReleased();
  if (std::exchange(turn.returned_early, false)) runs_inline_ = false;
  if (turn.copied > 0) {
    policy_.CopyDone({turn.actions.copies.data(), turn.copied}, turn.actions);
    turn.actions.copies.erase(turn.actions.copies.begin(),
                              turn.actions.copies.begin() + static_cast<long>(turn.copied));
    turn.sources.erase(turn.sources.begin(), turn.sources.begin() + static_cast<long>(turn.copied));
    turn.copied = 0;
  }
  if (turn.ended.lane >= 0) EndBatch(turn, now);
  if (policy_.NextWake() <= now) policy_.Tick(now, turn.actions);
  Resolve(turn);
  FindSources(turn);
  TakeRun(turn, now);
  WakeOwnThreadIfEarlier();
  if (turn.HasWork()) return true;
  --inside_;
  if (drain_waiters_ > 0 && inside_ == 0 && policy_.Idle()) drained_.NotifyAll();
  return false;
}

void Batcher::EndBatch(Turn& turn, TimePoint now) {
  Ended& ended = turn.ended;
  if (ended.output < 0) {
    const int64_t rows = lane_rows_[static_cast<size_t>(ended.lane)];
    turn.report = Report{.rows = rows, .status = ended.status, .timing = ended.timing};
    const BatchPolicy::Ended told = policy_.BatchDone(now, ended.lane, turn.actions);
    ended.output = told.output;
    ended.pieces = policy_.Pieces(told.output);
    if (told.copy_out && ended.status.ok()) return;  // to do so; then it comes here again
  }
  if (ended.status.ok()) HandOut(ended);
  policy_.Delivered(ended.output, ended.status, turn.actions);
  if (ended.status.ok() && ended.copies.empty() && leases_[Index(ended.output)] == 0) {
    policy_.OutputReleased(ended.output);
  }
  turn.ended = Ended();
}

// Gives the batch's results to the requests that are there to take them.
void Batcher::HandOut(Ended& ended) {
  int leases = 0;
  for (size_t i = 0; i < ended.pieces.size(); ++i) {
    const BatchPolicy::Piece& piece = ended.pieces[i];
    if (!policy_.Alive(piece.ticket)) continue;
    Pending& pending = pending_[Index(piece.ticket)];
    const auto at =
        std::upper_bound(pending.first_rows.begin(), pending.first_rows.end(), piece.first_row) -
        pending.first_rows.begin();
    if (ended.copies.empty()) {
      ++leases;
      pending.outputs.insert(pending.outputs.begin() + at,
                             {.bytes = ResultsOf(ended.output, piece),
                              .lease = OutputLease(&ReleaseOutput, this, ended.output)});
    } else {
      pending.outputs.insert(pending.outputs.begin() + at, std::move(ended.copies[i]));
    }
    pending.first_rows.insert(pending.first_rows.begin() + at, piece.first_row);
    const BatchTiming& timing = ended.timing;
    if (pending.outputs.size() == 1) {
      pending.timing = timing;
    } else {
      pending.timing = {
          .started = std::min(pending.timing.started, timing.started),
          .infer_started = std::min(pending.timing.infer_started, timing.infer_started),
          .infer_ended = std::max(pending.timing.infer_ended, timing.infer_ended),
          .done = std::max(pending.timing.done, timing.done)};
    }
  }
  if (ended.copies.empty()) leases_[Index(ended.output)] = leases;
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
  if (runs_inline_) {
    if (turn.nested) {                  // runs would pile up on the stack
      if (working != this) HandOver();  // else this thread comes to it after OnDone
      return;
    }
    if (turn.HasWork()) return;  // results do not wait for a run, nor do rows
    const bool long_enough = turn.runs > 0 && now - turn.entered >= options_.help_limit;
    if (long_enough && !turn.own_thread && asleep_ && !handed_over_) {
      HandOver();
      return;
    }
  }
  turn.run = policy_.Dispatch();
  lane_rows_[Index(turn.run->lane)] = turn.run->rows;
  if (runs_inline_ && policy_.CanDispatch()) HandOver();  // a second lane idles
}

void Batcher::HandOver() {
  if (handed_over_) return;
  handed_over_ = true;
  if (asleep_) wake_.NotifyOne();  // else it looks before it sleeps
}

void Batcher::WakeOwnThreadIfEarlier() {
  if (!asleep_ || policy_.NextWake() >= wake_at_) return;
  wake_at_ = policy_.NextWake();
  wake_.NotifyOne();
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

void Batcher::ReleaseOutput(void* batcher, int output) {
  auto* const self = static_cast<Batcher*>(batcher);
  if (self->leases_[Index(output)].fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  self->released_.fetch_or(uint64_t{1} << output, std::memory_order_release);  // the last touch
}

}  // namespace mlpserve
