// The threads that send: in a closed loop, where an answer makes the next request, or in an open
// loop, where the clock does.
//
// A worker has a completion queue of its own and sends on all connections. What it counts, it
// counts alone. In an open loop a second thread keeps the time and sends, so that the handling of
// answers does not hold sending up; its sleep ends some 50 µs late on a machine with time to spare.
#pragma once

#include <atomic>
#include <chrono>

#include "client/load/arrivals.h"
#include "client/load/connections.h"
#include "client/load/expected_outputs.h"
#include "client/load/request_set.h"
#include "client/load/tally.h"

namespace mlpserve::load {

// What all workers of a run share.
struct Traffic {
  const Connections& connections;
  const RequestSet& requests;
  const ExpectedOutputs* expected = nullptr;  // null: answers are not looked at
  std::chrono::milliseconds deadline{};       // of each request; 0: none
  bool streaming = false;                     // requests go into streams, which have no deadline
  Clock::time_point start{};                  // of the warm-up
  Clock::time_point begin{};                  // of the counted time
  Clock::time_point end{};                    // of it, and of sending
  const std::atomic<bool>* stop = nullptr;    // set: sending ends at once; never null in a run
};

// Worker `worker` of `workers` keeps its part of `concurrency` requests in flight. Counts answers
// that come between begin and end; latency is from sending. Requests that are still in flight ten
// seconds after the end are cancelled and have failed; the same holds for the open loop.
void RunClosedLoop(const Traffic& traffic, int worker, int workers, int concurrency, Tally& tally);

// Sends at `arrivals` (from traffic.start on), with at most `max_in_flight` in flight: an arrival
// beyond waits, and what it waits counts. Counts requests meant to be sent between begin and end;
// latency is from that intended time. Returns when the last one has been answered. An arrival that
// could not be sent until one second after the end is counted as unsent.
void RunOpenLoop(const Traffic& traffic, int worker, Arrivals arrivals, int max_in_flight,
                 Tally& tally);

}  // namespace mlpserve::load
