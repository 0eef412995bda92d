#include "client/load/events.h"

#include <utility>

namespace mlpserve::load {
namespace {

constexpr std::chrono::milliseconds kLookInterval{100};
constexpr std::chrono::seconds kDrainTime{10};

}  // namespace

Events::Events(grpc::CompletionQueue& queue, const Traffic& traffic, std::function<void()> cancel)
    : queue_(queue),
      traffic_(traffic),
      cancel_(std::move(cancel)),
      wake_(std::chrono::system_clock::now() + kLookInterval) {}

Lane* Events::Next(bool& ok) {
  for (;;) {
    void* tag = nullptr;
    switch (queue_.AsyncNext(&tag, &ok, wake_)) {
      case grpc::CompletionQueue::GOT_EVENT:
        return static_cast<Lane*>(tag);
      case grpc::CompletionQueue::SHUTDOWN:
        return nullptr;
      case grpc::CompletionQueue::TIMEOUT:
        LookAtTheTime();
    }
  }
}

void Events::LookAtTheTime() {
  wake_ = std::chrono::system_clock::now() + kLookInterval;
  const auto now = Clock::now();
  if (!over_since_ && (now >= traffic_.end || traffic_.stop->load())) over_since_ = now;
  if (cancelled_ || !over_since_ || now - *over_since_ < kDrainTime) return;
  cancelled_ = true;
  cancel_();
}

absl::Status Events::Judge(const Lane& lane) const {
  absl::Status status = lane.Judge(traffic_);
  if (!cancelled_ || !absl::IsCancelled(status)) return status;
  return absl::DeadlineExceededError("no answer ten seconds after the end");
}

}  // namespace mlpserve::load
