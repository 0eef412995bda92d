// BatchPolicy::CheckInvariants.
#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "server/batching/policy.h"

namespace mlpserve {

std::string BatchPolicy::CheckInvariants(TimePoint now) const {
  if (std::string broken = CheckQueues(); !broken.empty()) return broken;
  if (std::string broken = CheckSlots(now); !broken.empty()) return broken;
  if (std::string broken = CheckRequests(); !broken.empty()) return broken;
  return CheckBuffers();
}

std::string BatchPolicy::CheckQueues() const {
  int64_t rows = 0;
  int64_t requests = 0;
  for (size_t level = 0; level < queues_.size(); ++level) {
    Ticket previous = -1;
    int64_t level_rows = 0;
    for (Ticket ticket = queues_[level].first; ticket >= 0;
         ticket = requests_[Index(ticket)].next) {
      const Request& request = requests_[Index(ticket)];
      if (!Waits(request)) return absl::StrCat("request ", ticket, " is queued, but does not wait");
      if (Index(request.level) != level || request.previous != previous) {
        return absl::StrCat("request ", ticket, " is linked into the wrong queue");
      }
      if (previous >= 0 && requests_[Index(previous)].sequence > request.sequence) {
        return absl::StrCat("request ", ticket, " has overtaken one of its own level");
      }
      level_rows += request.rows - request.reserved;
      ++requests;
      previous = ticket;
    }
    if (queues_[level].last != previous) return absl::StrCat("queue ", level, " has a wrong end");
    if (queues_[level].rows != level_rows) return absl::StrCat("queue ", level, " miscounts rows");
    rows += level_rows;
  }
  if (rows != queued_rows_ || requests != queued_requests_) {
    return absl::StrCat(requests, " requests of ", rows, " rows wait, but the counts are ",
                        queued_requests_, " and ", queued_rows_);
  }
  if (rows > batching_.max_queued_rows) return absl::StrCat(rows, " rows wait: over the limit");
  if (rows > 0 && HasSpace()) return "rows wait though a slot has space";
  return "";
}

std::string BatchPolicy::CheckSlots(TimePoint now) const {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    int64_t end = 0;
    for (const Piece& piece : slot.pieces) {
      if (piece.slot_row != end || piece.rows < 1) return absl::StrCat("slot ", i, " has a gap");
      end += piece.rows;
    }
    const auto live = std::count_if(slot.pieces.begin(), slot.pieces.end(),
                                    [this](const Piece& piece) { return Alive(piece.ticket); });
    const bool gathers = slot.state == SlotState::kOpen || slot.state == SlotState::kSealed;
    if (gathers != (end > 0) || (gathers && end != slot.rows)) {
      return absl::StrCat("slot ", i, " holds ", end, " rows of pieces, and counts ", slot.rows);
    }
    if (slot.rows > batching_.max_rows) return absl::StrCat("slot ", i, " holds too many rows");
    if (slot.copying < 0 || (slot.copying > 0 && !gathers)) {
      return absl::StrCat("slot ", i, " runs while rows are copied into it");
    }
    if (slot.live != live || (gathers && live == 0 && slot.copying == 0)) {
      return absl::StrCat("slot ", i, " counts ", slot.live, " live pieces, has ", live);
    }
    const auto in_line = std::count(sealed_.begin(), sealed_.end(), static_cast<int>(i));
    if ((slot.state == SlotState::kOpen) != (static_cast<int>(i) == open_) ||
        (slot.state == SlotState::kFree) != ((free_slots_ >> i & 1) != 0) ||
        (slot.state == SlotState::kSealed ? 1 : 0) != in_line) {
      return absl::StrCat("slot ", i, " is not where its state says");
    }
    if (batching_.one_request_per_batch &&
        (slot.pieces.size() > 1 || slot.state == SlotState::kOpen)) {
      return absl::StrCat("slot ", i, " is open to a second request");
    }
  }
  if (SealDue() <= now) return "a device wants the open slot, which is due";
  return "";
}

std::string BatchPolicy::CheckRequests() const {
  std::vector<int> in_flight(requests_.size());
  std::vector<int64_t> in_slots(requests_.size());
  std::vector<int64_t> not_begun(requests_.size());
  std::vector<uint64_t> slots(requests_.size());
  const auto count = [&](const Piece& piece) {
    ++in_flight[Index(piece.ticket)];
    in_slots[Index(piece.ticket)] += piece.rows;
  };
  for (size_t i = 0; i < slots_.size(); ++i) {
    for (const Piece& piece : slots_[i].pieces) {
      count(piece);
      not_begun[Index(piece.ticket)] += piece.rows;
      slots[Index(piece.ticket)] |= uint64_t{1} << i;
    }
  }
  for (const Output& out : outputs_) std::for_each(out.pieces.begin(), out.pieces.end(), count);

  int64_t in_use = 0;
  int64_t pending = 0;
  size_t can_expire = 0;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const Request& request = requests_[i];
    const bool alive = request.state == State::kAlive;
    pending += alive && request.begun == 0 ? 1 : 0;
    can_expire += alive && request.expiry != TimePoint::max() ? 1 : 0;
    if (alive &&
        expiries_.Contains(static_cast<Ticket>(i)) != (request.expiry != TimePoint::max())) {
      return absl::StrCat("request ", i, " is not in the heap, or should not be");
    }
    if (request.state == State::kFree) {
      if (in_flight[i] != 0) return absl::StrCat("free ticket ", i, " lies in a slot");
      continue;
    }
    ++in_use;
    if (request.in_flight != in_flight[i] || request.copying < 0 ||
        request.copying > request.in_flight) {
      return absl::StrCat("request ", i, " counts ", request.in_flight, " pieces, has ",
                          in_flight[i], ", copies ", request.copying);
    }
    if (request.slots != slots[i] || (alive && request.begun + not_begun[i] != request.reserved)) {
      return absl::StrCat("request ", i, " has begun ", request.begun, " rows, of ",
                          request.reserved, " in slots, of which ", not_begun[i], " do not run");
    }
    if (request.state == State::kAlive &&
        (request.delivered + in_slots[i] != request.reserved || request.reserved > request.rows)) {
      return absl::StrCat("request ", i, " of ", request.rows, " rows lost some: reserved ",
                          request.reserved, ", delivered ", request.delivered, ", in slots ",
                          in_slots[i]);
    }
    if ((request.state == State::kLeaving && request.copying == 0) ||
        (request.state == State::kGone && request.in_flight == 0) ||
        (request.state == State::kAlive && request.delivered == request.rows)) {
      return absl::StrCat("request ", i, " should have left");
    }
  }
  if (pending != pending_requests_) {
    return absl::StrCat(pending, " requests are pending, counted as ", pending_requests_);
  }
  if (can_expire != expiries_.size()) return "the heap holds more than what is alive";
  if (in_use != in_use_) return absl::StrCat(in_use, " tickets are in use, counted as ", in_use_);
  return "";
}

std::string BatchPolicy::CheckBuffers() const {
  int lent = 0;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const Output& output = outputs_[i];
    lent += output.state == OutputState::kLent ||
                    (output.state == OutputState::kEnded && !output.copy_out)
                ? 1
                : 0;
    if ((output.state == OutputState::kFree) != ((free_outputs_ >> i & 1) != 0)) {
      return absl::StrCat("output ", i, " is not where its state says");
    }
    const bool has_pieces =
        output.state == OutputState::kRunning || output.state == OutputState::kEnded;
    if (has_pieces == output.pieces.empty()) {
      return absl::StrCat("output ", i, " has pieces it should not have, or lacks them");
    }
  }
  if (lent != lent_ || lent > options_.outputs - options_.lanes) {
    return absl::StrCat(lent, " outputs are lent, counted as ", lent_, ", of ", options_.outputs,
                        " for ", options_.lanes, " lanes");
  }
  auto running = std::count_if(slots_.begin(), slots_.end(),
                               [](const Slot& slot) { return slot.state == SlotState::kRunning; });
  for (const Lane& lane : lanes_) running -= lane.slot >= 0 ? 1 : 0;
  if (running != 0) return "a slot runs that no lane reads";
  for (size_t i = 0; i < lanes_.size(); ++i) {
    const Lane& lane = lanes_[i];
    const bool idle = (idle_lanes_ >> i & 1) != 0;
    const bool busy = (busy_lanes_ >> i & 1) != 0;
    if (idle != (lane.output < 0) || (idle && (lane.slot >= 0 || busy))) {
      return absl::StrCat("lane ", i, " is not as idle as it seems");
    }
    if ((lane.slot >= 0 && slots_[Index(lane.slot)].state != SlotState::kRunning) ||
        (!idle && outputs_[Index(lane.output)].state != OutputState::kRunning)) {
      return absl::StrCat("lane ", i, " runs a buffer that is not running");
    }
  }
  return "";
}

}  // namespace mlpserve
