// A place for one request in flight.
#pragma once

#include <memory>

#include "client/load/exchange.h"
#include "client/load/workers.h"

namespace mlpserve::load {

struct Lane {
  std::unique_ptr<Exchange> exchange;
  Clock::time_point from{};  // latency counts from here
  size_t request = 0;        // in the request set

  // `index`: of all lanes of the run, so that they take turns with connections.
  Lane(const Traffic& traffic, size_t index, grpc::CompletionQueue& queue);

  void Send(const Traffic& traffic, size_t request, Clock::time_point from);
  // What the answer is worth, once it is there.
  absl::Status Judge(const Traffic& traffic) const;
};

}  // namespace mlpserve::load
