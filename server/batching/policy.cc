#include "server/batching/policy.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

constexpr int kOldestFirstEvery = 8;  // rule 2
// What a batch may take where max_batch_time is not given, or more if fewer rows would be slower.
constexpr Duration kUsualBatchTime = std::chrono::milliseconds(5);
// A cut of a batch that is a multiple of this leaves no tile of a kernel half empty.
constexpr int64_t kTileRows = 16;

uint64_t Bit(int i) { return uint64_t{1} << i; }
uint64_t LowBits(int n) { return n == 64 ? ~uint64_t{0} : Bit(n) - 1; }

int TakeLowest(uint64_t& bits) {
  const int lowest = std::countr_zero(bits);
  bits &= bits - 1;
  return lowest;
}

// Clients name timeouts: the sum must not overflow.
TimePoint After(TimePoint start, Duration wait) {
  return wait >= TimePoint::max() - start ? TimePoint::max() : start + wait;
}

int64_t Microseconds(Duration wait) {
  return std::chrono::duration_cast<std::chrono::microseconds>(wait).count();
}

// Rows that run within max_batch_time.
int64_t BatchRows(const RunTimes& times, const BatchingOptions& batching) {
  if (!times.known() || batching.one_request_per_batch) return batching.max_rows;
  Duration limit = batching.max_batch_time;
  if (limit == Duration::zero()) {
    limit = std::max(kUsualBatchTime, times.Of(times.EfficientRows(batching.max_rows)));
  }
  // Where a few rows take as long as one, they are not cut into batches of one.
  limit = std::max(limit, times.Of(1) * 5 / 4);
  const int64_t rows = times.RowsWithin(limit, batching.max_rows);
  return rows < batching.max_rows && rows > kTileRows ? rows - rows % kTileRows : rows;
}

}  // namespace

BatchPolicy::BatchPolicy(const Options& options)
    : options_(options),
      times_(options.batch_times),
      batch_rows_(BatchRows(times_, options.batching)),
      slot_rows_(options.slot_rows > 0 ? options.slot_rows : options.batching.max_rows),
      queues_(Index(std::max(1, options.batching.priority_levels))),
      slots_(Index(options.slots)),
      free_slots_(LowBits(options.slots)),
      devices_(Index(options.lanes / options.lanes_per_device)),
      lanes_(Index(options.lanes)),
      idle_lanes_(LowBits(options.lanes)),
      outputs_(Index(options.outputs)),
      free_outputs_(LowBits(options.outputs)) {}

// --- events ---

absl::StatusOr<BatchPolicy::Ticket> BatchPolicy::Submit(TimePoint now, const Ask& ask,
                                                        Actions& actions) {
  Tick(now, actions);
  MLPSERVE_RETURN_IF_ERROR(Check(now, ask));
  MLPSERVE_RETURN_IF_ERROR(CheckRoom(ask, actions));
  MLPSERVE_RETURN_IF_ERROR(CheckTime(now, ask, actions));
  const Ticket ticket = NewRequest(now, ask);
  Request& request = requests_[Index(ticket)];
  // Rows wait only where there is no space, so that space means that nobody is before this one.
  while (request.reserved < request.rows && HasSpace()) Reserve(now, ticket, actions);
  if (request.reserved < request.rows) Enqueue(ticket);
  SealIfDue(now);
  return ticket;
}

void BatchPolicy::Cancel(TimePoint now, Ticket ticket, Actions& actions) {
  if (Alive(ticket)) {
    Drop(ticket, absl::CancelledError("cancelled by the client"), Eviction::kCancelled, actions);
  }
  Tick(now, actions);
}

void BatchPolicy::CopyDone(TimePoint now, std::span<const Copy> copies, Actions& actions) {
  for (const Copy& copy : copies) {
    Slot& slot = slots_[Index(copy.slot)];
    if (--slot.copying == 0 && slot.live == 0) dead_slots_ |= Bit(copy.slot);
    Request& request = requests_[Index(copy.piece.ticket)];
    if (--request.copying > 0 || request.state != State::kLeaving) continue;
    request.state = State::kGone;
    actions.completions.push_back({copy.piece.ticket, std::move(request.status), request.eviction});
  }
  Tick(now, actions);
}

std::optional<BatchRun> BatchPolicy::Dispatch(TimePoint now) {
  if (!CanDispatch()) return std::nullopt;
  const int at = ReadySlot();
  const int index = sealed_[Index(at)];
  sealed_.erase(sealed_.begin() + at);
  const int lane = LaneForNext();
  idle_lanes_ &= ~Bit(lane);
  busy_lanes_ |= Bit(lane);
  const int output = TakeLowest(free_outputs_);
  Slot& slot = slots_[Index(index)];
  lanes_[Index(lane)] = {.slot = index, .output = output, .rows = slot.rows, .sealed = slot.sealed};
  slot.state = SlotState::kRunning;
  slot.live = 0;
  outputs_[Index(output)].state = OutputState::kRunning;
  outputs_[Index(output)].pieces.swap(slot.pieces);
  for (const Piece& piece : outputs_[Index(output)].pieces) {
    Request& request = requests_[Index(piece.ticket)];
    request.slots &= ~Bit(index);
    if (request.state == State::kAlive) Begin(request, piece.ticket, piece.rows);
  }
  Device& device = DeviceOf(lane);
  device.busy_until = std::max(now, device.busy_until) + times_.Of(slot.rows);
  SealIfDue(now);  // another device may want work, for which there was a sealed slot until now
  return BatchRun{.slot = index, .output = output, .lane = lane, .rows = slot.rows};
}

void BatchPolicy::InputRead(TimePoint now, int lane, Actions& actions) {
  FreeSlotOf(lane);
  Tick(now, actions);
}

void BatchPolicy::NearlyDone(TimePoint now, int lane) {
  busy_lanes_ &= ~Bit(lane);
  SealIfDue(now);
}

BatchPolicy::Ended BatchPolicy::BatchDone(TimePoint now, int lane, Actions& actions) {
  FreeSlotOf(lane);
  const int index = std::exchange(lanes_[Index(lane)].output, -1);
  idle_lanes_ |= Bit(lane);
  busy_lanes_ &= ~Bit(lane);
  EndOn(now, lane);

  Output& output = outputs_[Index(index)];
  output.state = OutputState::kEnded;
  output.copy_out = lent_ >= options_.outputs - options_.lanes;
  if (!output.copy_out) ++lent_;
  Tick(now, actions);
  return {.output = index, .copy_out = output.copy_out};
}

void BatchPolicy::Delivered(TimePoint now, int index, const absl::Status& status,
                            Actions& actions) {
  Output& output = outputs_[Index(index)];
  for (const Piece& piece : output.pieces) Settle(piece, status, actions);
  output.pieces.clear();
  output.state = OutputState::kLent;
  if (output.copy_out) ++lent_;  // and back at once
  if (output.copy_out || !status.ok()) OutputReleased(index);
  Tick(now, actions);
}

void BatchPolicy::OutputReleased(int output) {
  --lent_;
  outputs_[Index(output)].state = OutputState::kFree;
  free_outputs_ |= Bit(output);
}

void BatchPolicy::Tick(TimePoint now, Actions& actions) {
  ExpireDue(now, actions);
  FreeDeadSlots();
  Fill(now, actions);
  SealIfDue(now);
}

void BatchPolicy::SetSlotRows(int64_t rows) {
  slot_rows_ = std::clamp(rows, slot_rows_, batching_.max_rows);
}

// --- requests ---

int BatchPolicy::LevelOf(int priority) const {
  if (batching_.priority_levels == 0) return 0;
  if (priority == 0) priority = batching_.default_priority;
  return (priority == 0 ? batching_.priority_levels : priority) - 1;
}

BatchPolicy::Ticket BatchPolicy::NewRequest(TimePoint now, const Ask& ask) {
  Ticket ticket = free_request_;
  if (ticket < 0) {
    ticket = static_cast<Ticket>(requests_.size());
    requests_.emplace_back();
  } else {
    free_request_ = requests_[Index(ticket)].next;
  }
  ++in_use_;
  ++pending_requests_;
  Request& request = requests_[Index(ticket)];
  request = Request();
  request.state = State::kAlive;
  request.level = LevelOf(ask.priority);
  request.rows = ask.rows;
  request.sequence = next_sequence_++;
  request.submitted = now;
  request.deadline = ask.deadline;
  if (ask.deadline != TimePoint::max()) {
    const TimePoint start = ask.deadline - OwnTime(ask.rows);
    request.latest_start =
        start > now ? start : ask.deadline;  // no estimate refuses what can begin
  }
  const Duration timeout = TimeoutOf(ask);
  if (timeout > Duration::zero()) request.timeout = After(now, timeout);
  SetExpiry(request, ticket);
  return ticket;
}

// What rule 6 holds it to now.
void BatchPolicy::SetExpiry(Request& request, Ticket ticket) {
  const TimePoint expiry =
      request.begun == 0 ? std::min(request.latest_start, request.timeout) : request.deadline;
  if (expiry == request.expiry) return;
  request.expiry = expiry;
  expiries_.Remove(ticket);
  if (expiry != TimePoint::max()) expiries_.Push(ticket, expiry);
}

void BatchPolicy::Begin(Request& request, Ticket ticket, int64_t rows) {
  if (request.begun == 0) --pending_requests_;
  request.begun += rows;
  SetExpiry(request, ticket);
}

void BatchPolicy::FreeRequest(Ticket ticket) {
  requests_[Index(ticket)].state = State::kFree;
  requests_[Index(ticket)].next = free_request_;
  free_request_ = ticket;
  --in_use_;
}

void BatchPolicy::Settle(const Piece& piece, const absl::Status& status, Actions& actions) {
  Request& request = requests_[Index(piece.ticket)];
  --request.in_flight;
  if (request.state == State::kAlive) {
    request.delivered += piece.rows;
    if (!status.ok()) {
      // Not shared among requests, so among threads: ThreadSanitizer does not see how Abseil, which
      // is not instrumented here, counts references.
      Drop(piece.ticket, absl::Status(status.code(), status.message()), std::nullopt, actions);
      return;
    }
    if (request.delivered < request.rows) return;
    expiries_.Remove(piece.ticket);
    actions.completions.push_back({piece.ticket, absl::OkStatus(), std::nullopt});
    FreeRequest(piece.ticket);
  } else if (request.state == State::kGone && request.in_flight == 0) {
    FreeRequest(piece.ticket);
  }
}

// Ends a request before all its rows are delivered. Its input is no longer needed once no thread
// copies from it; its ticket is, as long as slots name it. Tick frees the slots that it leaves
// without anybody who waits.
void BatchPolicy::Drop(Ticket ticket, absl::Status status, std::optional<Eviction> eviction,
                       Actions& actions) {
  Request& request = requests_[Index(ticket)];
  if (Waits(request)) Dequeue(ticket);
  if (request.begun == 0) --pending_requests_;
  expiries_.Remove(ticket);
  for (uint64_t slots = request.slots; slots != 0;) {
    const int slot = TakeLowest(slots);
    if (--slots_[Index(slot)].live == 0 && slots_[Index(slot)].copying == 0) {
      dead_slots_ |= Bit(slot);
    }
  }
  if (request.copying > 0) {
    request.state = State::kLeaving;
    request.status = std::move(status);
    request.eviction = eviction;
    return;
  }
  request.state = State::kGone;
  actions.completions.push_back({ticket, std::move(status), eviction});
  if (request.in_flight == 0) FreeRequest(ticket);
}

// --- queues ---

void BatchPolicy::Enqueue(Ticket ticket) {
  Request& request = requests_[Index(ticket)];
  Queue& queue = queues_[Index(request.level)];
  request.previous = queue.last;
  request.next = -1;
  (queue.last < 0 ? queue.first : requests_[Index(queue.last)].next) = ticket;
  queue.last = ticket;
  ++queue.requests;
  queue.rows += request.rows - request.reserved;
  queued_rows_ += request.rows - request.reserved;
  ++queued_requests_;
}

void BatchPolicy::Dequeue(Ticket ticket) {
  Request& request = requests_[Index(ticket)];
  Queue& queue = queues_[Index(request.level)];
  (request.previous < 0 ? queue.first : requests_[Index(request.previous)].next) = request.next;
  (request.next < 0 ? queue.last : requests_[Index(request.next)].previous) = request.previous;
  request.previous = request.next = -1;
  --queue.requests;
  queue.rows -= request.rows - request.reserved;
  queued_rows_ -= request.rows - request.reserved;
  --queued_requests_;
}

// Rule 2. -1: nothing waits.
BatchPolicy::Ticket BatchPolicy::NextWaiting(bool begins_slot) {
  Ticket highest = -1;
  Ticket oldest = -1;
  for (const Queue& queue : queues_) {
    if (queue.first < 0) continue;
    if (highest < 0) {
      highest = oldest = queue.first;
    } else if (requests_[Index(queue.first)].sequence < requests_[Index(oldest)].sequence) {
      oldest = queue.first;
    }
    if (!begins_slot) break;
  }
  if (!begins_slot || highest < 0) return highest;
  if (highest != oldest && ++begun_since_oldest_ < kOldestFirstEvery) return highest;
  begun_since_oldest_ = 0;
  return oldest;
}

void BatchPolicy::ExpireDue(TimePoint now, Actions& actions) {
  while (!expiries_.empty() && expiries_.top_time() <= now) {
    const Ticket ticket = expiries_.top();
    const Request& request = requests_[Index(ticket)];
    const int64_t waited = Microseconds(now - request.submitted);
    const char* const where = request.begun == 0 ? " us in the queue" : " us";
    const bool timed_out = request.begun == 0 && request.timeout <= now;
    if (timed_out && request.timeout < request.deadline) {
      Drop(ticket,
           absl::DeadlineExceededError(
               absl::StrCat("the queue timeout passed after ", waited, where)),
           Eviction::kTimeout, actions);
    } else if (request.deadline <= now) {
      Drop(ticket,
           absl::DeadlineExceededError(absl::StrCat("the deadline passed after ", waited, where)),
           Eviction::kDeadline, actions);
    } else {
      Drop(ticket,
           absl::DeadlineExceededError(
               absl::StrCat("the deadline, in ", Microseconds(request.deadline - now),
                            " us, can no longer be met after ", waited, where)),
           Eviction::kDeadline, actions);
    }
  }
}

// --- slots ---

// Gives the request as many rows as the open slot, or a free one that is opened, can take.
void BatchPolicy::Reserve(TimePoint now, Ticket ticket, Actions& actions) {
  Request& request = requests_[Index(ticket)];
  if (open_ < 0) {
    open_ = TakeLowest(free_slots_);
    slots_[Index(open_)].state = SlotState::kOpen;
  }
  Slot& slot = slots_[Index(open_)];
  const Piece piece = {.ticket = ticket,
                       .first_row = request.reserved,
                       .slot_row = slot.rows,
                       .rows = std::min(request.rows - request.reserved, batch_rows() - slot.rows)};
  slot.pieces.push_back(piece);
  slot.rows += piece.rows;
  slot.oldest = std::min(slot.oldest, request.submitted);
  ++slot.copying;
  ++slot.live;
  request.slots |= Bit(open_);
  request.reserved += piece.rows;
  ++request.copying;
  ++request.in_flight;
  actions.copies.push_back({open_, piece});
  if (slot.rows == batch_rows() || batching_.one_request_per_batch) Seal(now);
}

void BatchPolicy::Free(int slot) {
  slots_[Index(slot)].state = SlotState::kFree;
  slots_[Index(slot)].rows = 0;
  slots_[Index(slot)].oldest = TimePoint::max();
  free_slots_ |= Bit(slot);
}

// The slot that the lane's batch was read from, unless it is free already.
void BatchPolicy::FreeSlotOf(int lane) {
  const int slot = std::exchange(lanes_[Index(lane)].slot, -1);
  if (slot >= 0) Free(slot);
}

// Those in which nobody waits any more: they need not run.
void BatchPolicy::FreeDeadSlots() {
  while (dead_slots_ != 0) {
    const int index = TakeLowest(dead_slots_);
    Slot& slot = slots_[Index(index)];
    if (index == open_) {
      open_ = -1;
    } else {
      sealed_.erase(std::find(sealed_.begin(), sealed_.end(), index));
    }
    for (const Piece& piece : slot.pieces) {
      Request& request = requests_[Index(piece.ticket)];
      request.slots &= ~Bit(index);
      if (--request.in_flight == 0) FreeRequest(piece.ticket);  // nobody copies from it either
    }
    slot.pieces.clear();
    Free(index);
  }
}

void BatchPolicy::Fill(TimePoint now, Actions& actions) {
  while (HasSpace()) {
    const Ticket ticket = NextWaiting(/*begins_slot=*/open_ < 0);
    if (ticket < 0) return;
    const Request& request = requests_[Index(ticket)];
    const int64_t before = request.reserved;
    Reserve(now, ticket, actions);
    queues_[Index(request.level)].rows -= request.reserved - before;
    queued_rows_ -= request.reserved - before;
    if (request.reserved == request.rows) Dequeue(ticket);
  }
}

void BatchPolicy::Seal(TimePoint now) {
  slots_[Index(open_)].state = SlotState::kSealed;
  slots_[Index(open_)].sealed = now;
  sealed_.push_back(open_);
  open_ = -1;
}

// When the open slot is to be sealed though it is not full: a device wants it that no sealed slot
// is for, and its delay is over.
TimePoint BatchPolicy::SealDue() const {
  if (open_ < 0 || static_cast<size_t>(DevicesThatWant()) <= sealed_.size()) {
    return TimePoint::max();
  }
  return After(slots_[Index(open_)].oldest, batching_.max_queue_delay);
}

void BatchPolicy::SealIfDue(TimePoint now) {
  if (SealDue() <= now) Seal(now);
}

// --- lanes ---

uint64_t BatchPolicy::LanesOf(int device) const {
  return LowBits(options_.lanes_per_device) << device * options_.lanes_per_device;
}

int BatchPolicy::DevicesThatWant() const {
  int wanting = 0;
  for (int device = 0; device * options_.lanes_per_device < options_.lanes; ++device) {
    const uint64_t lanes = LanesOf(device);
    if ((idle_lanes_ & lanes) != 0 && (busy_lanes_ & lanes) == 0) ++wanting;
  }
  return wanting;
}

// An idle one, of the device with the fewest busy ones.
int BatchPolicy::LaneForNext() const {
  int best = -1;
  int least = kMostBuffers + 1;
  for (uint64_t idle = idle_lanes_; idle != 0; idle &= idle - 1) {
    const int lane = std::countr_zero(idle);
    const int busy = std::popcount(busy_lanes_ & LanesOf(lane / options_.lanes_per_device));
    if (busy < least) {
      least = busy;
      best = lane;
    }
  }
  return best;
}

// Index in sealed_; -1: none.
int BatchPolicy::ReadySlot() const {
  for (size_t i = 0; i < sealed_.size(); ++i) {
    if (slots_[Index(sealed_[i])].copying == 0) return static_cast<int>(i);
  }
  return -1;
}

Duration BatchPolicy::NextRunTime() const {
  return times_.Of(slots_[Index(sealed_[Index(ReadySlot())])].rows);
}

// Learns from the lane's batch, which has ended, how long batches take, and so when those that the
// device still runs will have ended. A batch's time counts from the end of the one before it if it
// had been sealed by then: what is between two batches slows down whoever waits as well.
void BatchPolicy::EndOn(TimePoint now, int lane) {
  Device& device = DeviceOf(lane);
  const Lane& ended = lanes_[Index(lane)];
  times_.Observe(ended.rows, now - std::max(ended.sealed, device.last_ended));
  // What was measured at load decides how batches are cut, so that a bad hour of the machine leaves
  // no trace; what is learned does so only where nothing was.
  if (options_.batch_times.empty()) {
    batch_rows_ = BatchRows(times_, batching_);
    if (open_ >= 0 && slots_[Index(open_)].rows >= batch_rows()) Seal(now);
  }
  device.last_ended = now;
  device.busy_until = now;
  const int first = lane - lane % options_.lanes_per_device;
  for (int other = first; other < first + options_.lanes_per_device; ++other) {
    if (lanes_[Index(other)].output >= 0) {
      device.busy_until += times_.Of(lanes_[Index(other)].rows);
    }
  }
}

// --- state ---

TimePoint BatchPolicy::NextWake() const {
  return std::min(expiries_.empty() ? TimePoint::max() : expiries_.top_time(), SealDue());
}

int BatchPolicy::slots_in_use() const { return options_.slots - std::popcount(free_slots_); }

}  // namespace mlpserve
