// A binary heap of tickets by time, from which any ticket can be removed.
//
// Exact rather than lazy: a request that was served long before its deadline leaves nothing behind,
// so that the heap is never larger than the queue. Push and Remove take O(log n), Top O(1).
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "server/vocabulary/request.h"

namespace mlpserve {

class ExpiryHeap {
 public:
  using Ticket = int32_t;  // small and dense: 0 .. the most that were ever in use at a time

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  // Not empty. The earliest.
  TimePoint top_time() const { return entries_.front().time; }
  Ticket top() const { return entries_.front().ticket; }

  bool Contains(Ticket ticket) const {
    return static_cast<size_t>(ticket) < position_.size() && position_[Index(ticket)] >= 0;
  }

  // The ticket is not in the heap.
  void Push(Ticket ticket, TimePoint time) {
    if (position_.size() <= Index(ticket)) position_.resize(Index(ticket) + 1, -1);
    entries_.push_back({time, ticket});
    SiftUp(entries_.size() - 1);
  }

  // Does nothing if the ticket is not in the heap.
  void Remove(Ticket ticket) {
    if (!Contains(ticket)) return;
    const size_t hole = static_cast<size_t>(position_[Index(ticket)]);
    position_[Index(ticket)] = -1;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (hole == entries_.size()) return;
    Place(hole, last);
    SiftUp(hole);
    SiftDown(static_cast<size_t>(position_[Index(last.ticket)]));
  }

 private:
  struct Entry {
    TimePoint time;
    Ticket ticket;
  };

  static size_t Index(Ticket ticket) { return static_cast<size_t>(ticket); }

  void Place(size_t at, Entry entry) {
    entries_[at] = entry;
    position_[Index(entry.ticket)] = static_cast<int32_t>(at);
  }

  void SiftUp(size_t at) {
    const Entry entry = entries_[at];
    while (at > 0 && entry.time < entries_[(at - 1) / 2].time) {
      Place(at, entries_[(at - 1) / 2]);
      at = (at - 1) / 2;
    }
    Place(at, entry);
  }

  void SiftDown(size_t at) {
    const Entry entry = entries_[at];
    for (size_t child = 2 * at + 1; child < entries_.size(); child = 2 * at + 1) {
      if (child + 1 < entries_.size() && entries_[child + 1].time < entries_[child].time) ++child;
      if (entry.time <= entries_[child].time) break;
      Place(at, entries_[child]);
      at = child;
    }
    Place(at, entry);
  }

  std::vector<Entry> entries_;     // entries_[i].time >= entries_[(i - 1) / 2].time
  std::vector<int32_t> position_;  // by ticket: index in entries_, or -1
};

}  // namespace mlpserve
