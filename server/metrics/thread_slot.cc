#include "server/metrics/thread_slot.h"

#include <atomic>
#include <bit>
#include <cstdint>

namespace mlpserve {
namespace {

static_assert(kThreadSlots == 64, "the slots are the bits of one word");

constinit std::atomic<uint64_t> taken_slots{0};

constexpr int kUnassigned = -1;
// Trivially destructible, so that it can still be read while a thread's other objects go.
constinit thread_local int slot_of_thread = kUnassigned;

int TakeSlot() {
  uint64_t taken = taken_slots.load(std::memory_order_relaxed);
  while (taken != ~uint64_t{0}) {
    const int slot = std::countr_one(taken);
    if (taken_slots.compare_exchange_weak(taken, taken | uint64_t{1} << slot,
                                          std::memory_order_acquire, std::memory_order_relaxed)) {
      return slot;
    }
  }
  return kThreadSlots;
}

// Gives the slot back when its thread ends. What still records after that shares a shard.
struct SlotReturner {
  SlotReturner() { slot_of_thread = TakeSlot(); }
  ~SlotReturner() {
    if (slot_of_thread == kThreadSlots) return;
    const uint64_t bit = uint64_t{1} << slot_of_thread;
    slot_of_thread = kThreadSlots;
    taken_slots.fetch_and(~bit, std::memory_order_release);
  }
};

}  // namespace

int ThreadSlot() {
  if (slot_of_thread == kUnassigned) [[unlikely]] {
    static thread_local SlotReturner returner;
  }
  return slot_of_thread;
}

}  // namespace mlpserve
