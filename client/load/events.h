// Takes events out of a worker's completion queue, and stops waiting for them some time after the
// end of a run.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "client/load/lane.h"

namespace mlpserve::load {

// Belongs to the thread that waits.
class Events {
 public:
  // `cancel` ends what is in flight; called once, ten seconds after the end of sending, so that a
  // server that does not answer holds nobody up.
  Events(grpc::CompletionQueue& queue, const Traffic& traffic, std::function<void()> cancel);

  // The lane that has an event, and what gRPC says of it; null: the queue was shut down and is
  // empty.
  Lane* Next(bool& ok);

  // As the lane's Judge; what was cancelled here has passed its deadline.
  absl::Status Judge(const Lane& lane) const;
  bool cancelled() const { return cancelled_; }

 private:
  void LookAtTheTime();

  grpc::CompletionQueue& queue_;
  const Traffic& traffic_;
  const std::function<void()> cancel_;
  std::chrono::system_clock::time_point wake_;
  std::optional<Clock::time_point> over_since_;
  bool cancelled_ = false;
};

}  // namespace mlpserve::load
