#include "server/batching/policy.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mlpserve {
namespace {

constexpr int kOldestFirstEvery = 8;  // rule 2
constexpr int kMostPriorityLevels = 64;

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

absl::Status CheckRange(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("batching: ", name, " must be ", low, " to ", high, ", got ", value));
}

int64_t Microseconds(Duration wait) {
  return std::chrono::duration_cast<std::chrono::microseconds>(wait).count();
}

}  // namespace

absl::Status BatchPolicy::Validate(const Options& options) {
  const int64_t any = int64_t{1} << 40;
  const BatchingOptions& batching = options.batching;
  for (const absl::Status& status : {
           CheckRange("slots", options.slots, 1, kMostBuffers),
           CheckRange("lanes", options.lanes, 1, kMostBuffers),
           CheckRange("lanes_per_device", options.lanes_per_device, 1, options.lanes),
           CheckRange("outputs", options.outputs, options.lanes, kMostBuffers),
           CheckRange("max_rows", batching.max_rows, batching.one_request_per_batch ? 2 : 1, any),
           CheckRange(
               "slot_rows", options.slot_rows,
               batching.one_request_per_batch && options.slot_rows > 0 ? batching.max_rows : 0,
               batching.max_rows),
           CheckRange("max_queued_rows", batching.max_queued_rows, 1, any),
           CheckRange("max_queue_delay in us", batching.max_queue_delay.count(), 0, any),
           CheckRange("queue_timeout in us", batching.queue_timeout.count(), 0, any),
           CheckRange("priority_levels", batching.priority_levels, 0, kMostPriorityLevels),
           CheckRange("default_priority", batching.default_priority, 0, batching.priority_levels),
       }) {
    if (!status.ok()) return status;
  }
  if (options.lanes % options.lanes_per_device == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("batching: lanes must be a multiple of ",
                                                 options.lanes_per_device,
                                                 " (lanes_per_device), got ", options.lanes));
}

BatchPolicy::BatchPolicy(const Options& options)
    : options_(options),
      slot_rows_(options.slot_rows > 0 ? options.slot_rows : options.batching.max_rows),
      queues_(Index(std::max(1, options.batching.priority_levels))),
      slots_(Index(options.slots)),
      free_slots_(LowBits(options.slots)),
      lanes_(Index(options.lanes)),
      idle_lanes_(LowBits(options.lanes)),
      outputs_(Index(options.outputs)),
      free_outputs_(LowBits(options.outputs)) {}

// --- events ---

absl::StatusOr<BatchPolicy::Ticket> BatchPolicy::Submit(TimePoint now, const Ask& ask,
                                                        Actions& actions) {
  Tick(now, actions);
  if (absl::Status status = Admit(now, ask); !status.ok()) return status;
  const Ticket ticket = NewRequest(now, ask);
  Request& request = requests_[Index(ticket)];
  // Rows wait only where there is no space, so that space means that nobody is before this one.
  while (request.reserved < request.rows && HasSpace()) Reserve(ticket, actions);
  if (request.reserved < request.rows) Enqueue(ticket);
  SealIfDue(now);
  return ticket;
}

void BatchPolicy::Cancel(Ticket ticket, Actions& actions) {
  if (!Waits(requests_[Index(ticket)])) return;
  Drop(ticket, absl::CancelledError("cancelled while queued"), Eviction::kCancelled, actions);
}

void BatchPolicy::CopyDone(std::span<const Copy> copies, Actions& actions) {
  for (const Copy& copy : copies) {
    --slots_[Index(copy.slot)].copying;
    Request& request = requests_[Index(copy.piece.ticket)];
    if (--request.copying > 0 || request.state != State::kLeaving) continue;
    request.state = State::kGone;
    actions.completions.push_back({copy.piece.ticket, std::move(request.status), request.eviction});
  }
}

std::optional<BatchRun> BatchPolicy::Dispatch() {
  if (idle_lanes_ == 0 || free_outputs_ == 0) return std::nullopt;
  const int at = ReadySlot();
  if (at < 0) return std::nullopt;
  const int slot = sealed_[Index(at)];
  sealed_.erase(sealed_.begin() + at);
  const int lane = LaneForNext();
  idle_lanes_ &= ~Bit(lane);
  busy_lanes_ |= Bit(lane);
  const int output = TakeLowest(free_outputs_);
  lanes_[Index(lane)] = {slot, output};
  outputs_[Index(output)].state = OutputState::kRunning;
  outputs_[Index(output)].pieces.swap(slots_[Index(slot)].pieces);
  slots_[Index(slot)].state = SlotState::kRunning;
  return BatchRun{.slot = slot, .output = output, .lane = lane, .rows = slots_[Index(slot)].rows};
}

void BatchPolicy::InputRead(TimePoint now, int lane, Actions& actions) {
  FreeSlotOf(lane);
  FillFreed(now, actions);
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

  Output& output = outputs_[Index(index)];
  output.state = OutputState::kEnded;
  output.copy_out = lent_ >= options_.outputs - options_.lanes;
  if (!output.copy_out) ++lent_;
  FillFreed(now, actions);
  return {.output = index, .copy_out = output.copy_out};
}

void BatchPolicy::Delivered(int index, const absl::Status& status, Actions& actions) {
  Output& output = outputs_[Index(index)];
  for (const Piece& piece : output.pieces) Settle(piece, status, actions);
  output.pieces.clear();
  output.state = OutputState::kLent;
  if (output.copy_out) ++lent_;  // and back at once
  if (output.copy_out || !status.ok()) OutputReleased(index);
}

void BatchPolicy::OutputReleased(int output) {
  --lent_;
  outputs_[Index(output)].state = OutputState::kFree;
  free_outputs_ |= Bit(output);
}

void BatchPolicy::Tick(TimePoint now, Actions& actions) {
  ExpireDue(now, actions);
  SealIfDue(now);
}

void BatchPolicy::SetSlotRows(int64_t rows) {
  slot_rows_ = std::clamp(rows, slot_rows_, batching_.max_rows);
}

// --- requests ---

// Rows that would get a place in a slot at once.
int64_t BatchPolicy::Room() const {
  const int64_t free = int64_t{std::popcount(free_slots_)} * slot_rows_;
  return open_ < 0 ? free : free + slot_rows_ - slots_[Index(open_)].rows;
}

absl::Status BatchPolicy::Admit(TimePoint now, const Ask& ask) const {
  if (ask.rows < 1) {
    return absl::InvalidArgumentError(absl::StrCat("expected at least 1 row, got ", ask.rows));
  }
  if (batching_.one_request_per_batch && (ask.rows < 2 || ask.rows > batching_.max_rows)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the block computes statistics over the rows of a request: expected 2 to ",
                     batching_.max_rows, " rows, got ", ask.rows));
  }
  if (ask.rows > batching_.max_queued_rows) {
    return absl::InvalidArgumentError(absl::StrCat("expected at most ", batching_.max_queued_rows,
                                                   " rows (the queue's size), got ", ask.rows));
  }
  if (ask.priority < 0 ||
      (batching_.priority_levels > 0 && ask.priority > batching_.priority_levels)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a priority of 0 to ", batching_.priority_levels, ", got ", ask.priority));
  }
  if (ask.deadline <= now) {
    return absl::DeadlineExceededError("the deadline had passed when the request arrived");
  }
  const bool fits = batching_.one_request_per_batch ? free_slots_ != 0 : ask.rows <= Room();
  const int64_t waiting = fits ? 0 : batching_.one_request_per_batch ? ask.rows : ask.rows - Room();
  if (queued_rows_ + waiting > batching_.max_queued_rows) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", queued_rows_, " of ",
                                                     batching_.max_queued_rows, " rows wait, ",
                                                     waiting, " more do not fit"));
  }
  return absl::OkStatus();
}

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
  Request& request = requests_[Index(ticket)];
  request.state = State::kAlive;
  request.level = LevelOf(ask.priority);
  request.rows = ask.rows;
  request.reserved = 0;
  request.delivered = 0;
  request.sequence = next_sequence_++;
  request.submitted = now;
  const Duration timeout =
      ask.queue_timeout > Duration::zero() ? ask.queue_timeout : batching_.queue_timeout;
  const TimePoint timed_out = timeout > Duration::zero() ? After(now, timeout) : TimePoint::max();
  request.expiry_is_deadline = ask.deadline <= timed_out;
  request.expiry = std::min(ask.deadline, timed_out);
  request.previous = request.next = -1;
  return ticket;
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
    actions.completions.push_back({piece.ticket, absl::OkStatus(), std::nullopt});
    FreeRequest(piece.ticket);
  } else if (request.state == State::kGone && request.in_flight == 0) {
    FreeRequest(piece.ticket);
  }
}

// Ends a request before all its rows are delivered. Its input is no longer needed once no thread
// copies from it; its ticket is, as long as slots name it.
void BatchPolicy::Drop(Ticket ticket, absl::Status status, std::optional<Eviction> eviction,
                       Actions& actions) {
  Request& request = requests_[Index(ticket)];
  if (Waits(request)) Dequeue(ticket);
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
  queued_rows_ += request.rows - request.reserved;
  ++queued_requests_;
  if (request.expiry != TimePoint::max()) expiries_.Push(ticket, request.expiry);
}

void BatchPolicy::Dequeue(Ticket ticket) {
  Request& request = requests_[Index(ticket)];
  Queue& queue = queues_[Index(request.level)];
  (request.previous < 0 ? queue.first : requests_[Index(request.previous)].next) = request.next;
  (request.next < 0 ? queue.last : requests_[Index(request.next)].previous) = request.previous;
  request.previous = request.next = -1;
  queued_rows_ -= request.rows - request.reserved;
  --queued_requests_;
  expiries_.Remove(ticket);
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
    if (request.expiry_is_deadline) {
      Drop(ticket,
           absl::DeadlineExceededError(
               absl::StrCat("the deadline passed after ", waited, " us in the queue")),
           Eviction::kDeadline, actions);
    } else {
      Drop(ticket,
           absl::DeadlineExceededError(
               absl::StrCat("the queue timeout passed after ", waited, " us in the queue")),
           Eviction::kTimeout, actions);
    }
  }
}

// --- slots ---

// Gives the request as many rows as the open slot, or a free one that is opened, can take.
void BatchPolicy::Reserve(Ticket ticket, Actions& actions) {
  Request& request = requests_[Index(ticket)];
  if (open_ < 0) {
    open_ = TakeLowest(free_slots_);
    slots_[Index(open_)].state = SlotState::kOpen;
  }
  Slot& slot = slots_[Index(open_)];
  const Piece piece = {.ticket = ticket,
                       .first_row = request.reserved,
                       .slot_row = slot.rows,
                       .rows = std::min(request.rows - request.reserved, slot_rows_ - slot.rows)};
  slot.pieces.push_back(piece);
  slot.rows += piece.rows;
  slot.oldest = std::min(slot.oldest, request.submitted);
  ++slot.copying;
  request.reserved += piece.rows;
  ++request.copying;
  ++request.in_flight;
  actions.copies.push_back({open_, piece});
  if (slot.rows == slot_rows_ || batching_.one_request_per_batch) Seal();
}

// The slot that the lane's batch was read from, unless it is free already.
void BatchPolicy::FreeSlotOf(int lane) {
  const int slot = std::exchange(lanes_[Index(lane)].slot, -1);
  if (slot < 0) return;
  slots_[Index(slot)].state = SlotState::kFree;
  slots_[Index(slot)].rows = 0;
  slots_[Index(slot)].oldest = TimePoint::max();
  free_slots_ |= Bit(slot);
}

void BatchPolicy::FillFreed(TimePoint now, Actions& actions) {
  ExpireDue(now, actions);
  Fill(actions);
  SealIfDue(now);
}

void BatchPolicy::Fill(Actions& actions) {
  while (HasSpace()) {
    const Ticket ticket = NextWaiting(/*begins_slot=*/open_ < 0);
    if (ticket < 0) return;
    const Request& request = requests_[Index(ticket)];
    const int64_t before = request.reserved;
    Reserve(ticket, actions);
    queued_rows_ -= request.reserved - before;
    if (request.reserved == request.rows) Dequeue(ticket);
  }
}

void BatchPolicy::Seal() {
  slots_[Index(open_)].state = SlotState::kSealed;
  sealed_.push_back(open_);
  open_ = -1;
}

void BatchPolicy::SealIfDue(TimePoint now) {
  if (open_ < 0 || static_cast<size_t>(DevicesThatWant()) <= sealed_.size()) return;
  if (now - slots_[Index(open_)].oldest >= batching_.max_queue_delay) Seal();
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

// --- state ---

TimePoint BatchPolicy::NextWake() const {
  TimePoint wake = expiries_.empty() ? TimePoint::max() : expiries_.top_time();
  if (open_ >= 0 && static_cast<size_t>(DevicesThatWant()) > sealed_.size()) {
    wake = std::min(wake, After(slots_[Index(open_)].oldest, batching_.max_queue_delay));
  }
  return wake;
}

int BatchPolicy::slots_in_use() const { return options_.slots - std::popcount(free_slots_); }

}  // namespace mlpserve
