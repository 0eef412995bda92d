#include <vector>

#include "client/load/lane.h"
#include "client/load/workers.h"

namespace mlpserve::load {
namespace {

constexpr std::chrono::seconds kDrainTime{2};

bool IsOver(const Traffic& traffic, Clock::time_point now) {
  return now >= traffic.end || traffic.stop->load(std::memory_order_relaxed);
}

class ClosedLoop {
 public:
  ClosedLoop(const Traffic& traffic, int worker, int workers, int concurrency, Tally& tally)
      : traffic_(traffic), tally_(tally) {
    for (int i = worker; i < concurrency; i += workers) {
      lanes_.push_back(std::make_unique<Lane>(traffic, static_cast<size_t>(i), queue_));
      // Lanes begin at different places of the request set.
      lanes_.back()->request =
          traffic.requests.size() * static_cast<size_t>(i) / static_cast<size_t>(concurrency);
    }
  }

  void Run() {
    const auto drained =
        std::chrono::system_clock::now() + (traffic_.end - Clock::now()) + kDrainTime;
    for (auto& lane : lanes_) lane->Send(traffic_, lane->request, Clock::now());
    in_flight_ = lanes_.size();
    void* tag = nullptr;
    bool ok = false;
    while (in_flight_ > 0 &&
           queue_.AsyncNext(&tag, &ok, drained) == grpc::CompletionQueue::GOT_EVENT) {
      Handle(*static_cast<Lane*>(tag), ok);
    }
    if (in_flight_ > 0) CancelAll();
  }

 private:
  void Handle(Lane& lane, bool ok) {
    if (!lane.exchange->Advance(ok)) return;
    const auto now = Clock::now();
    if (now >= traffic_.begin && now < traffic_.end) {
      tally_.Record(lane.Judge(traffic_), lane.from, now);
    }
    tally_.answers.store(tally_.answers.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
    lane.in_flight = false;
    if (IsOver(traffic_, now)) {
      --in_flight_;
    } else {
      // Judging takes time that is not the server's.
      lane.Send(traffic_, lane.request + 1, traffic_.expected == nullptr ? now : Clock::now());
    }
  }

  void CancelAll() {
    for (auto& lane : lanes_) {
      if (lane->in_flight) lane->exchange->Cancel();
    }
    void* tag = nullptr;
    bool ok = false;
    while (in_flight_ > 0 && queue_.Next(&tag, &ok)) Handle(*static_cast<Lane*>(tag), ok);
  }

  const Traffic& traffic_;
  Tally& tally_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  size_t in_flight_ = 0;
};

}  // namespace

void RunClosedLoop(const Traffic& traffic, int worker, int workers, int concurrency, Tally& tally) {
  ClosedLoop(traffic, worker, workers, concurrency, tally).Run();
}

}  // namespace mlpserve::load
