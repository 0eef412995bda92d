#include "server/batching/batcher.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
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

// Results that were copied to the heap, followed by their bytes.
struct CopiedRows {
  std::atomic<int64_t>* total;
  int64_t size;

  std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }

  static CopiedRows* Make(std::span<const std::byte> rows, std::atomic<int64_t>* total) {
    void* memory = ::operator new(sizeof(CopiedRows) + rows.size());
    auto* copied = new (memory) CopiedRows{total, static_cast<int64_t>(rows.size())};
    std::memcpy(copied->bytes(), rows.data(), rows.size());
    total->fetch_add(copied->size, std::memory_order_relaxed);
    return copied;
  }

  static void Release(void* memory, int /*buffer*/) {
    auto* copied = static_cast<CopiedRows*>(memory);
    std::atomic<int64_t>* const total = copied->total;
    const int64_t size = copied->size;
    ::operator delete(memory);
    total->fetch_sub(size, std::memory_order_release);  // the last touch: the batcher may go
  }
};

struct Delivery {
  InferRequest* request = nullptr;
  absl::Status status;
  std::optional<Eviction> eviction;
  absl::InlinedVector<OutputRows, 1> outputs;
  BatchTiming timing;
};

absl::Status CheckBuffers(const char* what, const std::vector<std::span<std::byte>>& buffers,
                          int64_t expected) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (static_cast<int64_t>(buffers[i].size()) >= expected) continue;
    return absl::InvalidArgumentError(absl::StrCat("batching: ", what, " ", i,
                                                   " must hold max_rows rows, ", expected,
                                                   " bytes, but holds ", buffers[i].size()));
  }
  return absl::OkStatus();
}

BatchPolicy::Options PolicyOptions(const BatchingOptions& options, const BatchBuffers& buffers) {
  return {.slots = static_cast<int>(buffers.slots.size()),
          .lanes = buffers.lanes,
          .outputs = static_cast<int>(buffers.outputs.size()),
          .max_rows = options.max_rows,
          .max_queued_rows =
              std::min(options.max_queued_rows, options.max_queued_bytes / buffers.input_row_bytes),
          .max_queue_delay = options.max_queue_delay,
          .queue_timeout = options.queue_timeout,
          .priority_levels = options.priority_levels,
          .default_priority = options.default_priority,
          .one_request_per_batch = options.one_request_per_batch};
}

}  // namespace

// A batch that has ended, until its requests are settled.
struct Batcher::Ended {
  int lane = 0;
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
  std::optional<Ended> ended;   // tell the policy, or copy its output
  std::optional<Report> report;
  absl::InlinedVector<Delivery, 2> deliveries;
  BatchPolicy::Actions actions;
  absl::InlinedVector<InferRequest*, 4> sources;  // of actions.copies in turn
  size_t copied = 0;                              // of actions.copies, the first so many are done

  bool HasWork() const { return run || ended || !deliveries.empty() || !actions.copies.empty(); }
};

absl::StatusOr<std::unique_ptr<Batcher>> Batcher::Create(const BatchingOptions& options,
                                                         BatchBuffers buffers, RunBatch run,
                                                         BatchObserver* observer) {
  if (buffers.input_row_bytes < 1 || buffers.output_row_bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("batching: bytes per row must be at least 1, got ", buffers.input_row_bytes,
                     " of input and ", buffers.output_row_bytes, " of output"));
  }
  if (options.max_queued_bytes < buffers.input_row_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("batching: max_queued_bytes must hold a row, ",
                                                   buffers.input_row_bytes, " bytes, got ",
                                                   options.max_queued_bytes));
  }
  if (options.help_limit < Duration::zero() || options.max_copied_bytes < 0) {
    return absl::InvalidArgumentError(
        "batching: help_limit and max_copied_bytes must not be negative");
  }
  const BatchPolicy::Options policy = PolicyOptions(options, buffers);
  for (const absl::Status& status :
       {BatchPolicy::Validate(policy),
        CheckBuffers("slot", buffers.slots, options.max_rows * buffers.input_row_bytes),
        CheckBuffers("output", buffers.outputs, options.max_rows * buffers.output_row_bytes)}) {
    if (!status.ok()) return status;
  }
  return std::unique_ptr<Batcher>(
      new Batcher(options, policy, std::move(buffers), std::move(run), observer));
}

Batcher::Batcher(const BatchingOptions& options, const BatchPolicy::Options& policy,
                 BatchBuffers buffers, RunBatch run, BatchObserver* observer)
    : options_(options),
      buffers_(std::move(buffers)),
      run_(std::move(run)),
      observer_(observer),
      policy_(policy),
      lane_rows_(static_cast<size_t>(policy.lanes)),
      leases_(std::make_unique<std::atomic<int>[]>(buffers_.outputs.size())) {
  for (int lane = 0; lane < policy.lanes; ++lane) {
    done_.push_back([this, lane](const absl::Status& status, const BatchTiming& timing) {
      OnBatchDone(lane, status, timing);
    });
  }
  own_thread_ = std::thread(&Batcher::OwnThread, this);
}

Batcher::~Batcher() {
  Drain();
  // A lease that is dropped wakes nobody, and must not touch anything after it has said so.
  for (;;) {
    {
      MutexLock lock(mutex_);
      CollectReleased();
      if (policy_.lent_outputs() == 0 && copied_bytes_.load(std::memory_order_acquire) == 0) {
        stop_ = true;
        wake_.NotifyOne();
        break;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  own_thread_.join();
}

void Batcher::Submit(InferRequest& request) {
  if (absl::Status status = CheckInput(request); !status.ok()) {
    request.OnDone(std::move(status), {});
    return;
  }
  const BatchPolicy::Ask ask = {.rows = request.rows,
                                .priority = request.priority,
                                .deadline = request.deadline,
                                .queue_timeout = request.queue_timeout};
  Turn turn;
  {
    MutexLock lock(mutex_);
    Enter(turn);
    const int64_t copied = copied_bytes_.load(std::memory_order_relaxed);
    const absl::StatusOr<BatchPolicy::Ticket> ticket =
        copied <= options_.max_copied_bytes
            ? policy_.Submit(turn.entered, ask, turn.actions)
            : absl::ResourceExhaustedError(
                  absl::StrCat("results of ", copied, " bytes wait to be read, over the limit of ",
                               options_.max_copied_bytes));
    Resolve(turn);  // before the ticket, which may be one that just completed
    if (ticket.ok()) {
      if (pending_.size() <= Index(*ticket)) pending_.resize(Index(*ticket) + 1);
      pending_[Index(*ticket)].request = &request;
      request.ticket = *ticket;
      FindSources(turn);
      WakeOwnThreadIfEarlier();
    } else {
      Delivery refused;
      refused.request = &request;
      refused.status = ticket.status();
      if (absl::IsDeadlineExceeded(refused.status)) refused.eviction = Eviction::kDeadline;
      turn.deliveries.push_back(std::move(refused));
    }
  }
  Work(turn);
}

void Batcher::Cancel(InferRequest& request) {
  Turn turn;
  {
    MutexLock lock(mutex_);
    const auto ticket = static_cast<size_t>(request.ticket);
    if (request.ticket < 0 || ticket >= pending_.size()) return;
    if (pending_[ticket].request != &request) return;  // it is done
    Enter(turn);
    policy_.Cancel(request.ticket, turn.actions);
    Resolve(turn);
  }
  Work(turn);
}

void Batcher::Drain() {
  MutexLock lock(mutex_);
  ++drain_waiters_;
  while (inside_ > 0 || !policy_.Idle()) drained_.Wait(mutex_);
  --drain_waiters_;
}

BatcherStats Batcher::stats() const {
  MutexLock lock(mutex_);
  return {.queued_requests = policy_.queued_requests(),
          .queued_rows = policy_.queued_rows(),
          .queued_rows_limit = policy_.options().max_queued_rows,
          .slots_in_use = policy_.slots_in_use(),
          .slots = policy_.options().slots,
          .copied_bytes = copied_bytes_.load(std::memory_order_relaxed)};
}

absl::Status Batcher::CheckInput(const InferRequest& request) const {
  const size_t bytes = TotalBytes(request.input);
  const auto row_bytes = static_cast<size_t>(buffers_.input_row_bytes);
  if (request.rows >= 0 && bytes % row_bytes == 0 &&
      bytes / row_bytes == static_cast<size_t>(request.rows)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("expected ", request.rows, " rows of ", row_bytes,
                                                 " bytes, got ", bytes, " bytes"));
}

void Batcher::OwnThread() {
  for (;;) {
    Turn turn;
    turn.own_thread = true;
    {
      MutexLock lock(mutex_);
      asleep_ = true;
      while (!stop_ && !handed_over_) {
        wake_at_ = policy_.NextWake();
        if (wake_at_ == TimePoint::max()) {
          wake_.Wait(mutex_);
        } else if (wake_at_ <= Clock::now() || !wake_.WaitUntil(mutex_, wake_at_)) {
          break;
        }
      }
      asleep_ = false;
      if (stop_) return;
      handed_over_ = false;
      Enter(turn);
    }
    Work(turn);
  }
}

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
    turn.ended.emplace();
    turn.ended->lane = here.lane;
    turn.ended->status = std::move(here.status);
    turn.ended->timing = here.timing;
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
  turn.ended.emplace();
  turn.ended->lane = lane;
  turn.ended->status = status;
  turn.ended->timing = timing;
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
  if (!turn.ended || turn.ended->output < 0) return;
  for (const BatchPolicy::Piece& piece : turn.ended->pieces) {
    CopiedRows* const copied =
        CopiedRows::Make(ResultsOf(turn.ended->output, piece), &copied_bytes_);
    turn.ended->copies.push_back({.bytes = {copied->bytes(), static_cast<size_t>(copied->size)},
                                  .lease = OutputLease(&CopiedRows::Release, copied, 0)});
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
  if (turn.ended) EndBatch(turn, now);
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
  Ended& ended = *turn.ended;
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
  turn.ended.reset();
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
