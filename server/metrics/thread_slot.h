// A number for the calling thread that no other living thread has, so that it can own one shard of
// a sharded counter and add to it without a locked instruction.
//
// Thread-safe. Numbers of threads that have ended are given out again; what such a thread wrote
// happens before what its successor reads.
#pragma once

namespace mlpserve {

// Threads at one time that get a number of their own. Those beyond share the number kThreadSlots,
// and must add to its shard atomically.
inline constexpr int kThreadSlots = 64;

// 0 .. kThreadSlots - 1: the caller's alone until it ends; kThreadSlots: shared.
int ThreadSlot();

}  // namespace mlpserve
