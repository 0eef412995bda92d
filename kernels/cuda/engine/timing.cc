#include "kernels/cuda/engine/timing.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr int kRounds = 7;
constexpr double kRoundUs = 150;  // that launches of one step fill, if it is shorter
constexpr int kMostLaunches = 16;

class Stopwatch {
 public:
  explicit Stopwatch(const Stream& stream) : stream_(stream) {}

  absl::Status Prepare() {
    for (Event* event : {&begin_, &end_}) {
      absl::StatusOr<Event> created = Event::Create();
      if (!created.ok()) return created.status();
      *event = *std::move(created);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<double> Us(const std::function<absl::Status()>& launch) const {
    MLPSERVE_RETURN_IF_ERROR(begin_.Record(stream_));
    MLPSERVE_RETURN_IF_ERROR(launch());
    MLPSERVE_RETURN_IF_ERROR(end_.Record(stream_));
    MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
    const absl::StatusOr<float> ms = MillisecondsBetween(begin_, end_);
    if (!ms.ok()) return ms.status();
    return 1e3 * *ms;
  }

 private:
  const Stream& stream_;
  Event begin_, end_;
};

struct Runner {
  std::optional<Graph> graph;  // nothing: the step cannot run
  int launches = 1;
  std::vector<double> us;
};

absl::StatusOr<Runner> MakeRunner(const Step& step, int32_t m, const Stream& stream,
                                  const Stopwatch& stopwatch) {
  const auto launch = [&] { return step.Launch(m, stream); };
  // The first launch loads the kernel, and the second one's time says how many make a round.
  absl::StatusOr<double> us = stopwatch.Us(launch);
  if (us.ok()) us = stopwatch.Us(launch);
  if (us.status().code() == absl::StatusCode::kUnavailable) return us.status();
  if (!us.ok()) return Runner{};
  Runner runner;
  runner.launches = std::clamp(static_cast<int>(kRoundUs / *us), 1, kMostLaunches);
  absl::StatusOr<Graph> graph = Graph::Capture(stream, [&] {
    for (int i = 0; i < runner.launches; ++i) MLPSERVE_RETURN_IF_ERROR(launch());
    return absl::OkStatus();
  });
  if (graph.ok()) runner.graph = *std::move(graph);
  return runner;
}

}  // namespace

absl::StatusOr<std::vector<double>> TimeInTurn(const std::vector<const Step*>& steps, int32_t m,
                                               const Stream& stream) {
  Stopwatch stopwatch(stream);
  MLPSERVE_RETURN_IF_ERROR(stopwatch.Prepare());
  std::vector<Runner> runners;
  for (const Step* step : steps) {
    absl::StatusOr<Runner> runner = MakeRunner(*step, m, stream, stopwatch);
    if (!runner.ok()) return runner.status();
    runners.push_back(*std::move(runner));
  }
  for (size_t round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < runners.size(); ++i) {
      Runner& runner = runners[(i + round) % runners.size()];
      if (!runner.graph) continue;
      const absl::StatusOr<double> us = stopwatch.Us([&] { return runner.graph->Launch(stream); });
      if (!us.ok()) return us.status();
      runner.us.push_back(*us / runner.launches);
    }
  }
  std::vector<double> medians;
  for (Runner& runner : runners) {
    std::ranges::sort(runner.us);
    medians.push_back(runner.us.empty() ? 0 : runner.us[runner.us.size() / 2]);
  }
  return medians;
}

}  // namespace mlpserve::cuda
