#include "kernels/cuda/engine/timing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr int kRounds = 5;
constexpr double kRoundUs = 150;  // that launches of one way fill, if it is shorter
constexpr size_t kMostLaunches = 64;
constexpr int kStretches = 3;  // of each way, under constant load

class Stopwatch {
 public:
  explicit Stopwatch(const Stream& stream) : stream_(stream) {}

  absl::Status Prepare() {
    MLPSERVE_ASSIGN_OR_RETURN(begin_, Event::Create());
    MLPSERVE_ASSIGN_OR_RETURN(end_, Event::Create());
    return absl::OkStatus();
  }

  absl::StatusOr<double> Us(const std::function<absl::Status()>& launch) const {
    MLPSERVE_RETURN_IF_ERROR(begin_.Record(stream_));
    MLPSERVE_RETURN_IF_ERROR(launch());
    MLPSERVE_RETURN_IF_ERROR(end_.Record(stream_));
    MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
    MLPSERVE_ASSIGN_OR_RETURN(const float ms, MillisecondsBetween(begin_, end_));
    return 1e3 * ms;
  }

 private:
  const Stream& stream_;
  Event begin_, end_;
};

struct Runner {
  std::optional<Graph> graph;  // nothing: the way cannot run
  double launches = 1;         // of a graph
  std::vector<double> us;      // of one launch
};

// Whole turns over the copies.
size_t LaunchesOf(size_t copies, double us) {
  const double turn_us = std::max(us, 0.1) * static_cast<double>(copies);
  const auto turns = static_cast<size_t>(std::ceil(kRoundUs / turn_us));
  return copies * std::clamp<size_t>(turns, 1, std::max<size_t>(1, kMostLaunches / copies));
}

absl::StatusOr<Runner> MakeRunner(const Way& way, const Stream& stream,
                                  const Stopwatch& stopwatch) {
  Runner runner;
  if (way.empty()) return runner;
  // The first launch loads the kernel, and the second one's time says how many make a round.
  absl::StatusOr<double> us = stopwatch.Us([&] { return way.front()->Launch(stream); });
  if (us.ok()) us = stopwatch.Us([&] { return way.back()->Launch(stream); });
  if (absl::IsUnavailable(us.status())) return us.status();
  if (!us.ok()) return runner;
  const size_t launches = LaunchesOf(way.size(), *us);
  runner.launches = static_cast<double>(launches);
  absl::StatusOr<Graph> graph = Graph::Capture(stream, [&] {
    for (size_t i = 0; i < launches; ++i) {
      MLPSERVE_RETURN_IF_ERROR(way[i % way.size()]->Launch(stream));
    }
    return absl::OkStatus();
  });
  if (graph.ok()) runner.graph = *std::move(graph);
  return runner;
}

// Microseconds of a launch while the graph runs for so many seconds.
absl::StatusOr<double> RunFor(double seconds, double us, const Runner& runner, const Stream& stream,
                              const Stopwatch& stopwatch) {
  const int times = std::max(1, static_cast<int>(1e6 * seconds / (us * runner.launches)));
  MLPSERVE_ASSIGN_OR_RETURN(const double taken, stopwatch.Us([&] {
    for (int i = 0; i < times; ++i) MLPSERVE_RETURN_IF_ERROR(runner.graph->Launch(stream));
    return absl::OkStatus();
  }));
  return taken / (times * runner.launches);
}

absl::Status SettleTies(const std::vector<Runner>& runners, const Stream& stream,
                        const Stopwatch& stopwatch, std::vector<double>& us) {
  const std::vector<size_t> tied = Tied(us);
  if (tied.empty()) return absl::OkStatus();
  const double seconds = kSustainedSeconds / (kStretches * static_cast<double>(tied.size()));
  std::vector<double> sustained(tied.size());
  for (int stretch = 0; stretch < kStretches; ++stretch) {
    for (size_t i = 0; i < tied.size(); ++i) {
      MLPSERVE_ASSIGN_OR_RETURN(const double one,
                                RunFor(seconds, us[tied[i]], runners[tied[i]], stream, stopwatch));
      sustained[i] += one;
    }
  }
  Settle(tied, sustained, us);
  return absl::OkStatus();
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

std::vector<size_t> Tied(const std::vector<double>& us) {
  double best = 0;
  for (const double one : us) {
    if (one > 0 && (best == 0 || one < best)) best = one;
  }
  std::vector<size_t> tied;
  if (best <= kSettledAboveUs) return tied;
  for (size_t i = 0; i < us.size(); ++i) {
    if (us[i] > 0 && us[i] <= (1 + kTied) * best) tied.push_back(i);
  }
  if (tied.size() < 2) tied.clear();
  return tied;
}

void Settle(const std::vector<size_t>& tied, const std::vector<double>& sustained,
            std::vector<double>& us) {
  if (tied.empty()) return;
  double best = us[tied.front()];
  for (const size_t i : tied) best = std::min(best, us[i]);
  const double least = *std::ranges::min_element(sustained);
  for (size_t i = 0; i < tied.size(); ++i) us[tied[i]] = best * sustained[i] / least;
}

absl::StatusOr<std::vector<double>> TimeInTurn(const std::vector<Way>& ways, const Stream& stream) {
  Stopwatch stopwatch(stream);
  MLPSERVE_RETURN_IF_ERROR(stopwatch.Prepare());
  std::vector<Runner> runners;
  for (const Way& way : ways) {
    MLPSERVE_ASSIGN_OR_RETURN(Runner runner, MakeRunner(way, stream, stopwatch));
    runners.push_back(std::move(runner));
  }
  for (size_t round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < runners.size(); ++i) {
      Runner& runner = runners[(i + round) % runners.size()];
      if (!runner.graph) continue;
      MLPSERVE_ASSIGN_OR_RETURN(const double us,
                                stopwatch.Us([&] { return runner.graph->Launch(stream); }));
      runner.us.push_back(us / runner.launches);
    }
  }
  std::vector<double> us;
  for (const Runner& runner : runners) us.push_back(Median(runner.us));
  MLPSERVE_RETURN_IF_ERROR(SettleTies(runners, stream, stopwatch, us));
  return us;
}

}  // namespace mlpserve::cuda
