// Open-loop overload against simulated time: no thread, no sleep. What a server is worth on its
// worst day is what it answers in time; that is compared with what it does when clients wait for
// their answers.
#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/batching/policy.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Ticket = BatchPolicy::Ticket;

constexpr int64_t kRows = 16;  // of a request

// A processor, or several, of which each runs a batch in a time that grows with its rows, and that
// differs from batch to batch.
struct Machine {
  int devices = 1;
  int lanes_per_device = 1;
  Duration fixed = microseconds(300);
  Duration of_row = microseconds(50);
  double noise = 0.3;     // a batch takes up to so much more or less
  double slowdown = 1.0;  // against what was measured at load
  bool measured = true;   // at load

  Duration Time(int64_t rows) const { return fixed + rows * of_row; }
};

struct Load {
  double requests_per_second = 0;        // open loop; 0: closed
  int in_flight = 64;                    // closed loop
  Duration deadline = Duration::zero();  // 0: none
};

struct Result {
  int64_t good = 0;      // answered well, in time
  int64_t accepted = 0;  // not refused when they came
  int64_t refused = 0;
  std::vector<Duration> times;  // of the accepted, however they ended

  double Rate(Duration span) const {
    return static_cast<double>(good) / std::chrono::duration<double>(span).count();
  }
  Duration Percentile(double share) {
    std::sort(times.begin(), times.end());
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  }
};

class Simulation {
 public:
  Simulation(const Machine& machine, const Load& load, const BatchingOptions& batching,
             unsigned seed)
      : machine_(machine),
        load_(load),
        random_(seed),
        policy_(Options(machine, batching)),
        ends_(static_cast<size_t>(policy_.options().lanes), TimePoint::max()),
        device_free_(static_cast<size_t>(machine.devices), now_) {}

  // What is counted comes after two seconds of the same load.
  Result Run(Duration span) {
    const TimePoint begin = now_ + seconds(2);
    const TimePoint end = begin + span;
    TimePoint arrival = load_.requests_per_second > 0 ? now_ : TimePoint::max();
    for (int i = 0; arrival == TimePoint::max() && i < load_.in_flight; ++i) Submit();
    while (now_ < end) {
      if (now_ < begin) result_ = {};
      Dispatch();
      const auto batch = std::min_element(ends_.begin(), ends_.end());
      now_ = std::min({*batch, policy_.NextWake(), arrival});
      if (now_ == *batch) {
        EndBatch(static_cast<int>(batch - ends_.begin()));
      } else if (now_ == arrival) {
        Submit();
        arrival += Gap();
      } else {
        BatchPolicy::Actions actions;
        policy_.Tick(now_, actions);
        Take(actions);
      }
    }
    EXPECT_EQ(policy_.CheckInvariants(now_), "");
    return std::move(result_);
  }

 private:
  static BatchPolicy::Options Options(const Machine& machine, const BatchingOptions& batching) {
    BatchPolicy::Options options;
    options.lanes = machine.devices * machine.lanes_per_device;
    options.lanes_per_device = machine.lanes_per_device;
    options.slots = options.lanes + 2;
    options.outputs = 2 * options.lanes + 2;
    options.batching = batching;
    for (int64_t rows = 1; machine.measured && rows <= 256; rows *= 2) {
      options.batch_times.push_back({rows, machine.Time(rows)});
    }
    EXPECT_TRUE(BatchPolicy::Validate(options).ok());
    return options;
  }

  Duration Gap() {
    const double gap = std::exponential_distribution<>(load_.requests_per_second)(random_);
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(gap));
  }

  void Submit() {
    BatchPolicy::Ask ask{.rows = kRows};
    if (load_.deadline > Duration::zero()) ask.deadline = now_ + load_.deadline;
    BatchPolicy::Actions actions;
    const auto ticket = policy_.Submit(now_, ask, actions);
    if (ticket.ok()) {
      ++result_.accepted;
      if (submitted_.size() <= static_cast<size_t>(*ticket)) submitted_.resize(*ticket + 1u);
    } else {
      ++result_.refused;
      EXPECT_EQ(ticket.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_GE(actions.retry_after, milliseconds(1));
      EXPECT_LE(actions.retry_after, seconds(1));
    }
    Take(actions);  // before the ticket is its own: it may be one that just completed
    if (ticket.ok()) submitted_[static_cast<size_t>(*ticket)] = now_;
  }

  // A device computes one batch after the other, whatever lanes they are on.
  void Dispatch() {
    while (const auto run = policy_.Dispatch(now_)) {
      const double factor =
          machine_.slowdown *
          std::uniform_real_distribution<>(1 - machine_.noise, 1 + machine_.noise)(random_);
      const auto time = std::chrono::duration_cast<Duration>(machine_.Time(run->rows) * factor);
      TimePoint& free = device_free_[static_cast<size_t>(run->lane / machine_.lanes_per_device)];
      free = std::max(free, now_) + time;
      ends_[static_cast<size_t>(run->lane)] = free;
    }
  }

  void EndBatch(int lane) {
    ends_[static_cast<size_t>(lane)] = TimePoint::max();
    BatchPolicy::Actions actions;
    const auto ended = policy_.BatchDone(now_, lane, actions);
    policy_.Delivered(now_, ended.output, absl::OkStatus(), actions);
    if (!ended.copy_out) policy_.OutputReleased(ended.output);
    Take(actions);
  }

  void Take(BatchPolicy::Actions& actions) {
    int again = 0;
    for (const auto& completion : actions.completions) {
      const Duration took = now_ - submitted_[static_cast<size_t>(completion.ticket)];
      result_.times.push_back(completion.status.ok() ? took : Duration::max());
      const bool in_time = load_.deadline == Duration::zero() || took <= load_.deadline;
      if (completion.status.ok() && in_time) ++result_.good;
      ++again;
    }
    policy_.CopyDone(now_, {actions.copies.data(), actions.copies.size()}, actions);
    if (load_.requests_per_second > 0) return;
    while (again-- > 0) Submit();
  }

  const Machine machine_;
  const Load load_;
  std::mt19937 random_;
  BatchPolicy policy_;
  TimePoint now_ = TimePoint(seconds(1000));
  std::vector<TimePoint> submitted_;    // by ticket
  std::vector<TimePoint> ends_;         // by lane
  std::vector<TimePoint> device_free_;  // by device
  Result result_;
};

constexpr Duration kSpan = seconds(20);

double Capacity(const Machine& machine) {
  return Simulation(machine, {.in_flight = 64 * machine.devices}, {}, 1).Run(kSpan).Rate(kSpan);
}

void ExpectGoodput(const Machine& machine, double share = 0.95) {
  const double capacity = Capacity(machine);
  for (const double overload : {2.0, 5.0, 10.0}) {
    for (const milliseconds deadline : {milliseconds(300), milliseconds(1000)}) {
      SCOPED_TRACE(std::to_string(overload) + "x, " + std::to_string(deadline.count()) + " ms");
      Result result =
          Simulation(machine, {.requests_per_second = overload * capacity, .deadline = deadline},
                     {}, 2)
              .Run(kSpan);
      EXPECT_GE(result.Rate(kSpan), share * capacity);
      if (machine.measured) {
        EXPECT_LE(result.Percentile(0.99), deadline);
      }
      EXPECT_GT(result.refused, result.accepted / 2);
    }
  }
}

TEST(BatchPolicyOverloadTest, GoodputIsTheCapacityHoweverMuchMoreComes) { ExpectGoodput({}); }

TEST(BatchPolicyOverloadTest, AlsoOnAMachineThatIsSlowerThanWhenItWasMeasured) {
  ExpectGoodput({.slowdown = 3});
}

TEST(BatchPolicyOverloadTest, AlsoOnAMachineThatIsFasterThanWhenItWasMeasured) {
  ExpectGoodput({.slowdown = 0.3});
}

// Larger batches are tried out, as they could be as fast as small ones: some of them are late.
TEST(BatchPolicyOverloadTest, NearlySoWhereNothingWasMeasured) {
  ExpectGoodput({.measured = false}, 0.85);
}

TEST(BatchPolicyOverloadTest, AlsoOnThreeDevicesOfTwoLanes) {
  ExpectGoodput({.devices = 3, .lanes_per_device = 2});
}

TEST(BatchPolicyOverloadTest, AlsoWhereABatchTakesTheSameTimeWhateverItsRows) {
  ExpectGoodput({.fixed = milliseconds(7), .of_row = Duration::zero()});
}

TEST(BatchPolicyOverloadTest, WithoutDeadlinesTheQueueIsBoundedInTime) {
  const Machine machine;
  BatchingOptions batching;
  batching.max_queued_time = milliseconds(500);
  const double capacity = Capacity(machine);
  Result result =
      Simulation(machine, {.requests_per_second = 5 * capacity}, batching, 3).Run(kSpan);
  EXPECT_GE(result.Rate(kSpan), 0.95 * capacity);
  EXPECT_LE(result.Percentile(0.99), milliseconds(600));
  EXPECT_GE(result.Percentile(0.5), milliseconds(400));  // and not much smaller than it may be
}

TEST(BatchPolicyOverloadTest, TwoLanesOfADeviceDoNotMakeTwoSmallBatchesOfOne) {
  const double one = Capacity({.fixed = milliseconds(2), .of_row = microseconds(1)});
  const double two =
      Capacity({.lanes_per_device = 2, .fixed = milliseconds(2), .of_row = microseconds(1)});
  EXPECT_GE(two, 0.9 * one);
}

}  // namespace
}  // namespace mlpserve
