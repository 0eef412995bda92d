// What is batched with what, when it runs, and what is refused: a state machine without threads,
// locks, clocks or memory of its own. Time is an argument; events go in, actions come out.
//
// Words. A request asks for rows. A slot is an input buffer that takes so many rows as run within
// max_batch_time (B below), less while not all of its memory is there; requests get row ranges
// ("pieces") of it. A lane runs one batch at a time, into an output buffer. A device has one lane
// or several, which overlap its copies with its arithmetic; it computes one batch after the other.
//
//   request: waiting -> reserved -> running -> delivered     (a long one is in several places)
//   slot:    free -> open -> sealed -> running -> free       (when the batch's input was read, or
//                                                             at the latest when the batch ends)
//   output:  free -> running -> lent -> free, or running -> copied out -> free
//
// Rules.
// 1. At most one slot is open. Rows go into it as they come; when it is full it is sealed and a
//    free one is opened. A request that does not fit is split over slots.
// 2. Rows that find no slot wait, in one queue per priority level, first in, first out. Slots are
//    filled from the highest level down; but of any 8 slots that are begun while rows wait, at
//    least one begins with the request that has waited longest, whatever its level: nothing
//    starves.
// 3. Work-conserving: a device that wants work takes the open slot. It is sealed at once, so that
//    rows which are still being copied are not joined by others for ever, or, with a
//    max_queue_delay, once its oldest row is that old. A device wants work if a lane of it is idle
//    and every batch on it is nearly done: its other lanes are there to copy rows while it
//    computes, not to make two small batches out of one. Until then the slot fills.
// 4. A sealed slot runs when its copies are done and a lane is idle, the earliest sealed first, on
//    the device that has the least to do.
// 5. A request is refused, with the time after which to try again, if the rows that would have to
//    wait go over max_queued_rows; if what is before it is expected to take longer than
//    max_queued_time; or if twice that, and its own time, take longer than its deadline or its
//    queue timeout allows. One that a device is free for is never refused for its time: an
//    estimate that is wrong must be able to learn so.
// 6. A request whose time is up, or that is cancelled, is answered then, wherever its rows lie:
//    but not while they are copied, which is a matter of microseconds. Its rows that wait leave the
//    queue; those in slots are dead weight, and a slot in which nobody waits any more is not run.
//    Time is up at the deadline; for a request of which no row has begun to run also at its queue
//    timeout, and at its latest start, the deadline less the time of its own rows.
// 7. If one_request_per_batch, every request has a slot to itself, which is sealed at once.
// 8. Results are lent where they lie while at most outputs - lanes buffers are: a lane always finds
//    an output, however slow the readers. Beyond that they must be copied out.
//
// The longest wait. With S slots, L lanes, T the longest that a batch is on its lane, D =
// max_queue_delay, W = T if devices have several lanes and else 0, E the batches that may run
// beside full slots (L if the backend says when input was read, else 0), and H what the threads
// take to copy rows in and to notice an event: in a block without priorities, a request of R rows
// that finds A rows waiting before it, and is not dropped, has its last row running no later than
//
//     max(D, (S - 1 + E + ceil((A + R) / B)) * T / min(L, S) + W) + H
//
// after it was submitted. For while its rows wait, all slots are taken: by batches that run, or by
// sealed ones, and then no lane idles; so min(L, S) run at a time. Every batch that is formed from
// the queue is full; before its last batch there are those in the S slots, E that run and have left
// theirs, and the ceil((A + R) / B) - 1 that are formed. And once no slot is sealed, the open one
// waits for the end of what runs on one device, which is W if that is not the end of one lane's
// batch, and then only until its oldest row is D old. A is at most max_queued_rows. With
// one_request_per_batch, A and R count requests, and B = 1. B is what a slot takes meanwhile
// (SetSlotRows only raises it).
//
// With priorities, rows that come later at a higher level count in A too, and one slot in 8 may
// begin with another request. What holds at every level, whatever comes later, is
//
//     max(D, (S + E + 8 * sum of ceil(rows / B) over it and what waited before it) * T / min(L, S)
//            + W) + H
//
// What a request is expected to take is the same sum over what is there, with the times that
// batches have taken lately (run_times.h) in place of T.
//
// Tickets name requests from Submit until they complete and their last row has left its slot; then
// they are used again. Rows are rows of the request; slot rows are rows of the slot.
// Not thread-safe. Time must not run backwards from event to event by more than a caller's lock
// hand-over; nothing breaks if it does, a wait is only that much longer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/batching/expiry_heap.h"
#include "server/batching/observer.h"
#include "server/batching/run_times.h"
#include "server/vocabulary/batch.h"
#include "server/vocabulary/batch_time.h"
#include "server/vocabulary/batching_options.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class BatchPolicy {
 public:
  using Ticket = ExpiryHeap::Ticket;

  // Slots, lanes and outputs at most, each: sets of them are words of bits.
  static constexpr int kMostBuffers = 64;

  struct Options {
    int slots = 3;  // 1 .. kMostBuffers
    int lanes = 1;  // 1 .. kMostBuffers
    // Of which so many, from the first on, are each device's; lanes is a multiple of it.
    int lanes_per_device = 1;
    int outputs = 6;  // lanes .. kMostBuffers
    // Rows that a slot takes at first; 0: max_rows, as one_request_per_batch needs.
    int64_t slot_rows = 0;
    // What batches took at load. Empty: that is learned, and slots take max_rows.
    std::vector<BatchTime> batch_times;
    // Its limits in bytes are the caller's to hold; max_queued_rows is all that counts here.
    BatchingOptions batching;
  };

  // INVALID_ARGUMENT: the option, what was expected, what came.
  static absl::Status Validate(const Options& options);

  struct Ask {
    int64_t rows = 0;
    int priority = 0;
    TimePoint deadline = TimePoint::max();
    Duration queue_timeout = Duration::zero();  // 0: the options'
  };

  // Rows first_row .. first_row + rows - 1 of a request, at slot_row .. of a slot and its output.
  struct Piece {
    Ticket ticket;
    int64_t first_row;
    int64_t slot_row;
    int64_t rows;
  };

  struct Copy {
    int slot;
    Piece piece;
  };

  // The request is answered with this. Look the ticket up before the next event: it may be reused.
  struct Completion {
    Ticket ticket;
    absl::Status status;
    std::optional<Eviction> eviction;
  };

  // What an event asks for; events append. Copies must each be done and reported by CopyDone.
  struct Actions {
    absl::InlinedVector<Copy, 4> copies;  // pieces of one slot lie side by side
    absl::InlinedVector<Completion, 4> completions;
    // Of a request that was refused with RESOURCE_EXHAUSTED: it may succeed after this; 0: unknown.
    Duration retry_after = Duration::zero();
  };

  // A batch that ended, between BatchDone and Delivered.
  struct Ended {
    int output;
    bool copy_out;  // the output must be free again after Delivered: copy what is alive
  };

  // `options` has passed Validate.
  explicit BatchPolicy(const Options& options);
  BatchPolicy(const BatchPolicy&) = delete;
  BatchPolicy& operator=(const BatchPolicy&) = delete;

  // --- events ---

  // Errors, for a request that is refused and leaves no trace: INVALID_ARGUMENT,
  // RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED. Of others, `actions` may complete some that expired.
  absl::StatusOr<Ticket> Submit(TimePoint now, const Ask& ask, Actions& actions);
  // Rule 6. Does nothing if the request is about to be answered anyway.
  void Cancel(TimePoint now, Ticket ticket, Actions& actions);
  // These pieces, all of one slot, lie in it now.
  void CopyDone(TimePoint now, std::span<const Copy> copies, Actions& actions);
  // The next batch to run, if a slot is ready, a lane idle and an output free. Now it runs.
  std::optional<BatchRun> Dispatch(TimePoint now);
  // The rows of the lane's batch have been read: its slot is free, while the lane goes on. Once for
  // a batch, or not at all.
  void InputRead(TimePoint now, int lane, Actions& actions);
  // The lane's batch is nearly done: its device wants another, if no other batch is on it. Once for
  // a batch, or not at all.
  void NearlyDone(TimePoint now, int lane);
  // The lane's batch has ended: the lane is idle, and its slot free. Its pieces stay with the
  // output until Delivered, which must follow, perhaps after other events.
  Ended BatchDone(TimePoint now, int lane, Actions& actions);
  // Completes every request that has all its rows now, or, if `status` is not OK, every request
  // that has a row in the batch. The output is lent if it was OK and not copied out, else free.
  void Delivered(TimePoint now, int output, const absl::Status& status, Actions& actions);
  // Nobody reads the lent output any more.
  void OutputReleased(int output);
  // From now on a slot holds so many rows; at most max_rows, and never less than before.
  void SetSlotRows(int64_t rows);
  // Lets go of what has expired; seals the open slot if its delay is over.
  void Tick(TimePoint now, Actions& actions);

  // --- state ---

  // When Tick has something to do if no other event comes; TimePoint::max(): never.
  TimePoint NextWake() const;
  bool CanDispatch() const { return idle_lanes_ != 0 && free_outputs_ != 0 && ReadySlot() >= 0; }
  // What the next batch is expected to take. CanDispatch is true.
  Duration NextRunTime() const;
  // The pieces of the batch in this output, from Dispatch until Delivered.
  std::span<const Piece> Pieces(int output) const { return outputs_[Index(output)].pieces; }
  // False if the request was completed, or is about to be, before all its rows were delivered.
  bool Alive(Ticket ticket) const { return requests_[Index(ticket)].state == State::kAlive; }
  // No request waits, and no rows are in a slot or in a batch. Outputs may be lent.
  bool Idle() const { return in_use_ == 0; }

  int64_t queued_rows() const { return queued_rows_; }
  int64_t queued_requests() const { return queued_requests_; }
  // That are alive and have no row that has begun to run.
  int64_t pending_requests() const { return pending_requests_; }
  int slots_in_use() const;
  // That a slot holds.
  int64_t slot_rows() const { return slot_rows_; }
  // That a batch has at most: what runs within max_batch_time.
  int64_t batch_rows() const { return std::min(slot_rows_, batch_rows_); }
  int lent_outputs() const { return lent_; }
  const Options& options() const { return options_; }

  // A broken invariant in words, or an empty string. O(everything); for tests. `now` is that of the
  // last event that had one.
  //   every slot row below `rows` belongs to exactly one piece, and slots do not overlap in use
  //   0 <= delivered <= reserved <= rows of each request; copying <= in_flight
  //   rows wait only if no slot is free and the open one is full (so: there is none)
  //   queued_rows is the sum of rows - reserved over the queues, and at most max_queued_rows
  //   a request is in its level's queue exactly while it waits, in the heap while it is alive and
  //   its time can be up
  //   sealed slots hold rows; a due open slot exists only if no device wants it
  //   the live pieces of a slot are counted; one that has none, and no copies, is free
  //   lent outputs <= outputs - lanes; the output of a running lane is running; so is its slot,
  //   until its input was read, and no other
  //   one_request_per_batch: no open slot, one piece to a slot
  std::string CheckInvariants(TimePoint now) const;

 private:
  enum class State : uint8_t {
    kFree,
    kAlive,
    kLeaving,  // dropped, but rows are being copied from it: completes after the last copy
    kGone,     // completed, but rows of it lie in slots
  };

  struct Request {
    State state = State::kFree;
    int level = 0;
    int64_t rows = 0;
    int64_t reserved = 0;   // rows that have got a place in a slot
    int64_t begun = 0;      // rows whose batch has begun to run
    int64_t delivered = 0;  // rows whose batch has ended
    int copying = 0;        // pieces
    int in_flight = 0;      // pieces reserved and not delivered; >= copying
    uint64_t slots = 0;     // bit set: those that hold a piece of it and do not run yet
    uint64_t sequence = 0;  // order of arrival
    TimePoint submitted;
    TimePoint deadline = TimePoint::max();
    TimePoint latest_start = TimePoint::max();
    TimePoint timeout = TimePoint::max();
    TimePoint expiry = TimePoint::max();  // what of them holds now
    Ticket previous = -1;                 // in its level's queue
    Ticket next = -1;                     // likewise; of a free one, the next free
    absl::Status status;                  // kLeaving: what to complete with
    std::optional<Eviction> eviction;
  };

  struct Queue {
    Ticket first = -1;
    Ticket last = -1;
    int64_t requests = 0;
    int64_t rows = 0;  // that wait
  };

  enum class SlotState : uint8_t { kFree, kOpen, kSealed, kRunning };

  struct Slot {
    SlotState state = SlotState::kFree;
    int64_t rows = 0;
    int copying = 0;  // pieces
    int live = 0;     // pieces of requests that are alive
    TimePoint oldest = TimePoint::max();
    TimePoint sealed;
    std::vector<Piece> pieces;  // until it runs: then the output has them
  };

  enum class OutputState : uint8_t { kFree, kRunning, kEnded, kLent };

  struct Output {
    OutputState state = OutputState::kFree;
    bool copy_out = false;
    std::vector<Piece> pieces;
  };

  struct Lane {
    int slot = -1;  // until its rows have been read
    int output = -1;
    int64_t rows = 0;
    TimePoint sealed;  // its slot was
  };

  struct Device {
    TimePoint busy_until = TimePoint::min();  // as expected
    TimePoint last_ended = TimePoint::min();  // of its batches
  };

  // What is expected of a request.
  struct Outlook {
    Duration before = Duration::zero();  // until it begins to run
    Duration own = Duration::zero();     // from then on
  };

  static size_t Index(int i) { return static_cast<size_t>(i); }

  absl::Status Check(TimePoint now, const Ask& ask) const;
  absl::Status CheckRoom(const Ask& ask, Actions& actions) const;
  absl::Status CheckTime(TimePoint now, const Ask& ask, Actions& actions) const;
  Outlook Expect(TimePoint now, const Ask& ask) const;
  Duration BatchesOf(int64_t rows) const;
  Duration OwnTime(int64_t rows) const;
  Duration RetryAfter(Duration wait) const;
  bool ADeviceIsFree() const;
  Duration TimeoutOf(const Ask& ask) const;
  int64_t Room() const;
  int LevelOf(int priority) const;
  Ticket NewRequest(TimePoint now, const Ask& ask);
  void FreeRequest(Ticket ticket);

  void Enqueue(Ticket ticket);
  void Dequeue(Ticket ticket);
  Ticket NextWaiting(bool begins_slot);
  bool Waits(const Request& request) const {
    return request.state == State::kAlive && request.reserved < request.rows;
  }

  bool HasSpace() const { return open_ >= 0 || free_slots_ != 0; }
  void Reserve(TimePoint now, Ticket ticket, Actions& actions);
  void Free(int slot);
  void FreeSlotOf(int lane);
  void FreeDeadSlots();
  void Fill(TimePoint now, Actions& actions);
  void Seal(TimePoint now);
  TimePoint SealDue() const;
  int DevicesThatWant() const;
  uint64_t LanesOf(int device) const;  // bit set
  int LaneForNext() const;
  void SealIfDue(TimePoint now);
  int ReadySlot() const;

  Device& DeviceOf(int lane) { return devices_[Index(lane / options_.lanes_per_device)]; }
  void EndOn(TimePoint now, int lane);
  void Begin(Request& request, Ticket ticket, int64_t rows);
  void SetExpiry(Request& request, Ticket ticket);

  void ExpireDue(TimePoint now, Actions& actions);
  void Drop(Ticket ticket, absl::Status status, std::optional<Eviction> eviction, Actions& actions);
  void Settle(const Piece& piece, const absl::Status& status, Actions& actions);

  std::string CheckQueues() const;
  std::string CheckSlots(TimePoint now) const;
  std::string CheckRequests() const;
  std::string CheckBuffers() const;

  const Options options_;
  const BatchingOptions& batching_ = options_.batching;
  RunTimes times_;
  int64_t batch_rows_;  // that run within max_batch_time
  int64_t slot_rows_;   // that a slot holds

  std::deque<Request> requests_;  // by ticket; grows to the most that were in use at a time
  Ticket free_request_ = -1;
  int64_t in_use_ = 0;  // tickets that are not free
  uint64_t next_sequence_ = 0;

  std::vector<Queue> queues_;  // by level, 0 is the highest
  ExpiryHeap expiries_;        // of what is alive, and its time can be up
  int64_t queued_rows_ = 0;
  int64_t queued_requests_ = 0;
  int64_t pending_requests_ = 0;
  int begun_since_oldest_ = 0;  // slots begun since one began with the oldest that waited (rule 2)

  std::vector<Slot> slots_;
  uint64_t free_slots_ = 0;  // bit set
  uint64_t dead_slots_ = 0;  // bit set: nobody waits in them any more
  int open_ = -1;
  absl::InlinedVector<int, 8> sealed_;  // in the order of sealing

  std::vector<Device> devices_;
  std::vector<Lane> lanes_;
  uint64_t idle_lanes_ = 0;  // bit set
  uint64_t busy_lanes_ = 0;  // bit set: of those that are not idle, those not nearly done

  std::vector<Output> outputs_;
  uint64_t free_outputs_ = 0;  // bit set
  int lent_ = 0;               // lent, or ended and about to be
};

}  // namespace mlpserve
