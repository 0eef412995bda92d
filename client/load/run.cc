#include "client/load/run.h"

#include <sys/resource.h>

#include <algorithm>
#include <deque>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/load/connections.h"
#include "client/load/numbers.h"
#include "client/load/workers.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::load {
namespace {

constexpr std::chrono::milliseconds kConnectTime{10'000};
constexpr std::chrono::milliseconds kStatisticsTime{2'000};
constexpr std::chrono::milliseconds kProgressInterval{100};
constexpr int kMostConnections = 8;
constexpr int kInFlightPerConnection = 16;
// Threads and connections are made before the first request is sent.
constexpr std::chrono::milliseconds kStartTime{5};

double OwnCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int ConnectionsFor(const RunOptions& options, const Point& point) {
  if (options.connections > 0) return options.connections;
  if (point.open()) return kMostConnections;
  const int needed = (point.concurrency + kInFlightPerConnection - 1) / kInFlightPerConnection;
  return std::clamp(needed, 1, kMostConnections);
}

// A quarter of the processors and one: the server is often on the same machine.
int ThreadsFor(const RunOptions& options, const Point& point) {
  const int most = point.open() ? options.max_in_flight : point.concurrency;
  const int wanted = options.threads > 0
                         ? options.threads
                         : 1 + static_cast<int>(std::thread::hardware_concurrency()) / 4;
  return std::clamp(wanted, 1, std::max(1, most));
}

// The threads of one run.
class WorkerThreads {
 public:
  WorkerThreads(const RunOptions& options, const Point& point, const Traffic& traffic)
      : tallies_(static_cast<size_t>(ThreadsFor(options, point))) {
    const int workers = static_cast<int>(tallies_.size());
    for (int i = 0; i < workers; ++i) {
      Tally& tally = tallies_[static_cast<size_t>(i)];
      threads_.emplace_back([&, i, workers, point] {
        if (!point.open()) {
          RunClosedLoop(traffic, i, workers, point.concurrency, tally);
        } else {
          RunOpenLoop(traffic, i, Arrivals(options.arrivals, point.rate, i, workers, options.seed),
                      std::max(1, options.max_in_flight / workers), tally);
        }
      });
    }
  }

  uint64_t answers() const {
    uint64_t sum = 0;
    for (const Tally& tally : tallies_) sum += tally.answers.load(std::memory_order_relaxed);
    return sum;
  }

  const std::deque<Tally>& Join() {
    for (std::thread& thread : threads_) thread.join();
    return tallies_;
  }

 private:
  std::deque<Tally> tallies_;
  std::vector<std::thread> threads_;
};

// The counters that are read at both ends of the counted time.
struct Reading {
  std::optional<ServerCounters> server;
  double server_cpu = 0;
  double own_cpu = 0;
  Clock::time_point at;
};

Reading Read(const RunOptions& options) {
  Reading reading;
  reading.own_cpu = OwnCpuSeconds();
  reading.server_cpu = CpuSeconds(options.server_pids).value_or(0);
  reading.at = Clock::now();
  const auto counters =
      ReadCounters(options.address, options.model, options.version, kStatisticsTime);
  if (counters.ok()) reading.server = *counters;
  return reading;
}

// Waits until `until` or until the run is stopped, and tells how far it is.
void Await(const Traffic& traffic, Clock::time_point until, const WorkerThreads& workers,
           const OnProgress& on_progress) {
  uint64_t answers = workers.answers();
  Clock::time_point at = Clock::now();
  while (at < until && !traffic.stop->load()) {
    std::this_thread::sleep_until(std::min<Clock::time_point>(until, at + kProgressInterval));
    const auto now = Clock::now();
    const uint64_t answers_now = workers.answers();
    const std::chrono::duration<double> total = traffic.end - traffic.start;
    const std::chrono::duration<double> gone = now - traffic.start, step = now - at;
    if (on_progress) {
      on_progress(std::clamp(gone / total, 0.0, 1.0),
                  static_cast<double>(answers_now - answers) / std::max(1e-9, step.count()));
    }
    answers = answers_now;
    at = now;
  }
}

void Add(const Tally& tally, Result& result) {
  result.latency.Merge(tally.latency);
  result.lateness.Merge(tally.lateness);
  result.unsent += tally.unsent;
  for (const auto& [code, failure] : tally.failures) {
    Failure& sum = result.failures[code];
    if (sum.count == 0) sum.first = failure.first;
    sum.count += failure.count;
  }
}

Result Summarise(const Point& point, const Traffic& traffic, const std::deque<Tally>& tallies,
                 const Reading& before, const Reading& after) {
  Result result;
  result.point = point;
  result.request_bytes = traffic.requests.message_bytes();
  Clock::time_point end = std::min(traffic.end, after.at);
  for (const Tally& tally : tallies) {
    Add(tally, result);
    if (point.open()) end = std::max(end, tally.last_answer);
  }
  result.seconds = std::max(1e-9, std::chrono::duration<double>(end - traffic.begin).count());
  // Processor time was read over a period that may differ slightly from the counted one, so that
  // requests are scaled to it.
  const std::chrono::duration<double> read = after.at - before.at;
  const double requests = std::max(1.0, result.requests_per_second() * read.count());
  result.client_cpu_us = (after.own_cpu - before.own_cpu) / requests * 1e6;
  if (before.server && after.server) result.server = Split(*before.server, *after.server);
  result.server_cpu_us = (after.server_cpu - before.server_cpu) / requests * 1e6;
  return result;
}

}  // namespace

std::string Describe(const Point& point) {
  const std::string rows =
      absl::StrCat(WithCommas(static_cast<double>(point.rows)), point.rows == 1 ? " row" : " rows");
  if (point.open()) return absl::StrCat(rows, ", ", WithCommas(point.rate), "/s");
  return absl::StrCat(rows, ", ", point.concurrency, " at a time");
}

uint64_t Result::failed() const {
  uint64_t sum = unsent;
  for (const auto& [code, failure] : failures) sum += failure.count;
  return sum;
}

double Result::requests_per_second() const { return static_cast<double>(succeeded()) / seconds; }

double Result::rows_per_second() const {
  return requests_per_second() * static_cast<double>(point.rows);
}

absl::StatusOr<Result> Run(const RunOptions& options, const Point& point,
                           const RequestSet& requests, const ExpectedOutputs* expected,
                           const OnProgress& on_progress) {
  MLPSERVE_RETURN_IF_ERROR(CpuSeconds(options.server_pids).status());
  MLPSERVE_ASSIGN_OR_RETURN(
      const Connections connections,
      Connections::Open(options.address, ConnectionsFor(options, point), kConnectTime));

  const Clock::time_point start = Clock::now() + kStartTime;
  const Clock::time_point begin = start + options.warm_up;
  const Traffic traffic{.connections = connections,
                        .requests = requests,
                        .expected = expected,
                        .deadline = options.deadline,
                        .streaming = options.streaming,
                        .start = start,
                        .begin = begin,
                        .end = begin + options.duration,
                        .stop = options.stop};
  WorkerThreads workers(options, point, traffic);
  Await(traffic, traffic.begin, workers, on_progress);
  const Reading before = Read(options);
  Await(traffic, traffic.end, workers, on_progress);
  const Reading after = Read(options);
  Result result = Summarise(point, traffic, workers.Join(), before, after);
  if (options.server_pids.empty()) result.server_cpu_us.reset();
  return result;
}

}  // namespace mlpserve::load
