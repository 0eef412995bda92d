#include <vector>

#include "client/load/events.h"
#include "client/load/workers.h"

namespace mlpserve::load {
namespace {

class ClosedLoop {
 public:
  ClosedLoop(const Traffic& traffic, int worker, int workers, int concurrency, Tally& tally)
      : traffic_(traffic), tally_(tally), events_(queue_, traffic, [this] { CancelAll(); }) {
    for (int i = worker; i < concurrency; i += workers) {
      lanes_.push_back(std::make_unique<Lane>(traffic, static_cast<size_t>(i), queue_));
      // Lanes begin at different places of the request set.
      lanes_.back()->request =
          traffic.requests.size() * static_cast<size_t>(i) / static_cast<size_t>(concurrency);
    }
  }

  void Run() {
    for (auto& lane : lanes_) lane->Send(traffic_, lane->request, Clock::now());
    in_flight_ = lanes_.size();
    bool ok = false;
    while (in_flight_ > 0) {
      Lane& lane = *events_.Next(ok);  // never null: nobody shuts the queue down
      if (lane.exchange->Advance(ok)) HandleAnswer(lane);
    }
  }

 private:
  void HandleAnswer(Lane& lane) {
    const auto now = Clock::now();
    if (events_.cancelled() || (now >= traffic_.begin && now < traffic_.end)) {
      tally_.Record(events_.Judge(lane), lane.from, now);
    }
    tally_.CountAnswer();
    if (now >= traffic_.end || traffic_.stop->load(std::memory_order_relaxed)) {
      --in_flight_;
    } else {
      // The next latency begins after judging, which takes time that is not the server's.
      lane.Send(traffic_, lane.request + 1, traffic_.expected == nullptr ? now : Clock::now());
    }
  }

  void CancelAll() {
    for (auto& lane : lanes_) lane->exchange->Cancel();
  }

  const Traffic& traffic_;
  Tally& tally_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Events events_;
  size_t in_flight_ = 0;
};

}  // namespace

void RunClosedLoop(const Traffic& traffic, int worker, int workers, int concurrency, Tally& tally) {
  ClosedLoop(traffic, worker, workers, concurrency, tally).Run();
}

}  // namespace mlpserve::load
