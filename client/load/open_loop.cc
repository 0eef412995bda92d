#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "client/load/events.h"
#include "client/load/workers.h"

namespace mlpserve::load {
namespace {

constexpr std::chrono::seconds kLateSend{1};
constexpr std::chrono::milliseconds kStopInterval{100};  // between looks at `stop`

// Keeps the lanes that are free, and makes a lane when it is first needed.
class LanePool {
 public:
  LanePool(const Traffic& traffic, size_t worker, size_t most, grpc::CompletionQueue& queue)
      : traffic_(traffic), worker_(worker), most_(most), queue_(queue) {}

  // Waits for a lane; null where none became free in time.
  Lane* Take(Clock::time_point until) {
    std::unique_lock lock(mutex_);
    if (free_.empty() && lanes_.size() < most_) {
      lanes_.push_back(std::make_unique<Lane>(traffic_, lanes_.size() + worker_, queue_));
      return lanes_.back().get();
    }
    if (!returned_.wait_until(lock, until, [this] { return !free_.empty(); })) return nullptr;
    Lane* lane = free_.back();
    free_.pop_back();
    return lane;
  }

  void Return(Lane* lane) {
    {
      std::lock_guard lock(mutex_);
      free_.push_back(lane);
    }
    returned_.notify_one();
  }

  // Call it once no lane is taken any more.
  void CancelAll() {
    std::lock_guard lock(mutex_);
    for (auto& lane : lanes_) lane->exchange->Cancel();
  }

 private:
  const Traffic& traffic_;
  const size_t worker_;
  const size_t most_;
  grpc::CompletionQueue& queue_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> free_;  // last in, first out: few lanes stay in the processor's caches
};

class OpenLoop {
 public:
  OpenLoop(const Traffic& traffic, int worker, Arrivals arrivals, int max_in_flight, Tally& tally)
      : traffic_(traffic),
        tally_(tally),
        arrivals_(arrivals),
        next_request_(static_cast<size_t>(worker)),
        pool_(traffic, static_cast<size_t>(worker), static_cast<size_t>(max_in_flight), queue_),
        events_(queue_, traffic, [this] { pool_.CancelAll(); }) {}

  void Run() {
    std::thread sender([this] { SendAll(); });
    bool ok = false;
    while (Lane* lane = events_.Next(ok)) {
      if (lane->exchange->Advance(ok)) HandleAnswer(*lane);
    }
    sender.join();
  }

 private:
  void SendAll() {
    ::prctl(PR_SET_TIMERSLACK, 1);  // nanosecond: sleep as exactly as the kernel can
    for (;;) {
      const Clock::time_point intended = traffic_.start + arrivals_.Next();
      if (intended >= traffic_.end || !SleepUntil(intended)) break;
      SendOne(intended);
    }
    // After the shutdown the queue still returns the events of what is in flight.
    queue_.Shutdown();
  }

  // False where the run was stopped meanwhile.
  bool SleepUntil(Clock::time_point intended) const {
    while (!traffic_.stop->load(std::memory_order_relaxed)) {
      const auto now = Clock::now();
      if (now >= intended) return true;
      std::this_thread::sleep_until(std::min(intended, now + kStopInterval));
    }
    return false;
  }

  void SendOne(Clock::time_point intended) {
    const auto last = traffic_.end + kLateSend;
    Lane* lane = Clock::now() < last ? pool_.Take(last) : nullptr;
    const bool counted = intended >= traffic_.begin;
    if (lane == nullptr) {
      if (counted) ++tally_.unsent;
      return;
    }
    if (counted) tally_.lateness.Record(Clock::now() - intended);
    lane->Send(traffic_, next_request_++, intended);
  }

  void HandleAnswer(Lane& lane) {
    const auto now = Clock::now();
    if (lane.from >= traffic_.begin) tally_.Record(events_.Judge(lane), lane.from, now);
    tally_.CountAnswer();
    pool_.Return(&lane);
  }

  const Traffic& traffic_;
  Tally& tally_;
  Arrivals arrivals_;
  size_t next_request_;
  grpc::CompletionQueue queue_;
  LanePool pool_;
  Events events_;
};

}  // namespace

void RunOpenLoop(const Traffic& traffic, int worker, Arrivals arrivals, int max_in_flight,
                 Tally& tally) {
  OpenLoop(traffic, worker, arrivals, max_in_flight, tally).Run();
}

}  // namespace mlpserve::load
