// The longest wait, as policy.h states it, against simulated time: no thread, no sleep.
#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "server/batching/policy.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
using Ticket = BatchPolicy::Ticket;

constexpr microseconds kRun{100};  // T: the longest run of a batch

// Requests arrive at random, copies take no time (H = 0), batches take up to T.
class Simulation {
 public:
  // `reads_early`: batches say at some time before their end that their input was read, and at
  // another that they are nearly done.
  Simulation(const BatchPolicy::Options& options, bool reads_early, unsigned seed)
      : options_(options),
        reads_early_(reads_early),
        random_(seed),
        policy_(options),
        reads_(64, TimePoint::max()),
        nears_(64, TimePoint::max()),
        ends_(64, TimePoint::max()) {}

  void Run(int requests, int mean_gap_us) {
    TimePoint arrival = now_;
    while (requests > 0 || !policy_.Idle()) {
      const TimePoint end = *std::min_element(ends_.begin(), ends_.end());
      const TimePoint read = *std::min_element(reads_.begin(), reads_.end());
      const TimePoint near = *std::min_element(nears_.begin(), nears_.end());
      now_ = std::min(
          {read, near, end, policy_.NextWake(), requests > 0 ? arrival : TimePoint::max()});
      ASSERT_NE(now_, TimePoint::max()) << "stuck";
      if (now_ == read) {
        ReadInput();
      } else if (now_ == near) {
        NearEnd();
      } else if (now_ == end) {
        EndBatch();
      } else if (requests > 0 && now_ == arrival) {
        --requests;
        Submit();
        arrival += microseconds(Below(2 * mean_gap_us));
      } else {
        BatchPolicy::Actions actions;
        policy_.Tick(now_, actions);
        Take(actions);
      }
      Dispatch();
    }
  }

  int64_t measured_ = 0;
  double worst_ = 0;  // of wait / bound

 private:
  struct Waiter {
    int64_t rows = 0;
    int level = 0;
    uint64_t order = 0;
    TimePoint submitted;
    int64_t placed = 0;   // rows in slots
    int64_t started = 0;  // rows running
    // What the bound counts: at submission, and what came later at a higher level.
    int64_t before = 0;
    int64_t older_batches = 0;
  };

  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  int64_t Batches(int64_t rows) const {
    return options_.batching.one_request_per_batch
               ? 1
               : (rows + options_.batching.max_rows - 1) / options_.batching.max_rows;
  }
  int64_t Units(int64_t rows) const { return options_.batching.one_request_per_batch ? 1 : rows; }

  void Submit() {
    BatchPolicy::Ask ask;
    ask.rows = options_.batching.one_request_per_batch
                   ? 2 + Below(static_cast<int>(options_.batching.max_rows) - 1)
                   : 1 + Below(static_cast<int>(options_.batching.max_rows) * 3);
    ask.priority =
        options_.batching.priority_levels == 0 ? 0 : 1 + Below(options_.batching.priority_levels);
    Waiter waiter{.rows = ask.rows, .level = ask.priority, .order = order_++, .submitted = now_};
    waiter.older_batches = Batches(ask.rows);
    for (const Waiter& other : waiters_) {
      const int64_t waits = other.rows - other.placed;
      if (waits <= 0) continue;
      if (other.level <= waiter.level) waiter.before += Units(waits);
      waiter.older_batches += Batches(waits);
    }
    BatchPolicy::Actions actions;
    const auto ticket = policy_.Submit(now_, ask, actions);
    if (!ticket.ok()) return;
    for (Waiter& other : waiters_) {
      if (other.level > waiter.level && other.placed < other.rows) other.before += Units(ask.rows);
    }
    if (waiters_.size() <= static_cast<size_t>(*ticket)) waiters_.resize(*ticket + 1u);
    waiters_[static_cast<size_t>(*ticket)] = waiter;
    Take(actions);
  }

  void Dispatch() {
    while (const auto run = policy_.Dispatch(now_)) {
      const int run_us = 1 + Below(100);
      ends_[static_cast<size_t>(run->lane)] = now_ + microseconds(run_us);
      if (reads_early_) {
        reads_[static_cast<size_t>(run->lane)] = now_ + microseconds(Below(run_us));
        nears_[static_cast<size_t>(run->lane)] = now_ + microseconds(Below(run_us));
      }
      for (const auto& piece : policy_.Pieces(run->output)) {
        Waiter& waiter = waiters_[static_cast<size_t>(piece.ticket)];
        waiter.started += piece.rows;
        if (waiter.started == waiter.rows) Measure(waiter);
      }
    }
  }

  void ReadInput() {
    const auto lane = std::min_element(reads_.begin(), reads_.end()) - reads_.begin();
    reads_[static_cast<size_t>(lane)] = TimePoint::max();
    BatchPolicy::Actions actions;
    policy_.InputRead(now_, static_cast<int>(lane), actions);
    Take(actions);
  }

  void NearEnd() {
    const auto lane = std::min_element(nears_.begin(), nears_.end()) - nears_.begin();
    nears_[static_cast<size_t>(lane)] = TimePoint::max();
    policy_.NearlyDone(now_, static_cast<int>(lane));
  }

  void EndBatch() {
    const auto lane = std::min_element(ends_.begin(), ends_.end()) - ends_.begin();
    ends_[static_cast<size_t>(lane)] = TimePoint::max();
    BatchPolicy::Actions actions;
    const auto ended = policy_.BatchDone(now_, static_cast<int>(lane), actions);
    policy_.Delivered(now_, ended.output, absl::OkStatus(), actions);
    if (!ended.copy_out) policy_.OutputReleased(ended.output);
    Take(actions);
  }

  void Take(BatchPolicy::Actions& actions) {
    for (const auto& copy : actions.copies) {
      waiters_[static_cast<size_t>(copy.piece.ticket)].placed += copy.piece.rows;
    }
    policy_.CopyDone(now_, {actions.copies.data(), actions.copies.size()}, actions);
  }

  void Measure(const Waiter& waiter) {
    // Batches that were in slots, and that ran when theirs were free again.
    const int64_t taken = options_.slots + (reads_early_ ? options_.lanes : 0);
    const int64_t rows_a_batch =
        options_.batching.one_request_per_batch ? 1 : options_.batching.max_rows;
    const int64_t ahead = (waiter.before + Units(waiter.rows) + rows_a_batch - 1) / rows_a_batch;
    const int lanes = std::min(options_.lanes, options_.slots);
    const Duration device = options_.lanes_per_device > 1 ? kRun : Duration::zero();
    const Duration in_order = (taken - 1 + ahead) * kRun / lanes + device;
    // A high level, too, waits for the slots that begin with the oldest: one in 8.
    const Duration low = (taken + 8 * waiter.older_batches) * kRun / lanes + device;
    const Duration bound = std::max<Duration>(
        options_.batching.max_queue_delay, options_.batching.priority_levels == 0 ? in_order : low);
    const Duration wait = now_ - waiter.submitted;
    EXPECT_LE(wait, bound) << "level " << waiter.level << ", rows " << waiter.rows << ", before "
                           << waiter.before;
    ++measured_;
    worst_ =
        std::max(worst_, static_cast<double>(wait.count()) / static_cast<double>(bound.count()));
  }

  const BatchPolicy::Options options_;
  const bool reads_early_;
  std::mt19937 random_;
  BatchPolicy policy_;
  TimePoint now_ = TimePoint(std::chrono::seconds(1000));
  uint64_t order_ = 0;
  std::vector<Waiter> waiters_;   // by ticket
  std::vector<TimePoint> reads_;  // by lane
  std::vector<TimePoint> nears_;  // by lane
  std::vector<TimePoint> ends_;   // by lane
};

void ExpectWaitsWithinTheFormula(bool reads_early, int lanes_per_device) {
  double worst = 0;
  int64_t measured = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    BatchPolicy::Options options;
    options.lanes_per_device = lanes_per_device;
    options.lanes = lanes_per_device * (1 + below(3));
    options.slots = 1 + below(5);
    options.outputs = options.lanes + 2;
    options.batching.max_rows = 2 + below(7);
    options.batching.max_queued_rows = 100;
    options.batching.max_queue_delay = microseconds(below(2) * below(1500));
    options.batching.priority_levels = below(2) * 3;
    options.batching.one_request_per_batch = below(4) == 0;
    Simulation simulation(options, reads_early, seed);
    simulation.Run(400, 2 + below(150));
    if (testing::Test::HasFailure()) return;
    worst = std::max(worst, simulation.worst_);
    measured += simulation.measured_;
  }
  EXPECT_GT(measured, 50'000);
  EXPECT_GT(worst, lanes_per_device > 1 ? 0.7 : 0.8)
      << "the bound is far from what happens: it could be tighter";
}

TEST(BatchPolicyWaitTest, NoRequestWaitsLongerThanTheFormulaSays) {
  ExpectWaitsWithinTheFormula(/*reads_early=*/false, /*lanes_per_device=*/1);
}

TEST(BatchPolicyWaitTest, NorWhereDevicesHaveSeveralLanes) {
  ExpectWaitsWithinTheFormula(/*reads_early=*/false, /*lanes_per_device=*/2);
  ExpectWaitsWithinTheFormula(/*reads_early=*/true, /*lanes_per_device=*/3);
}

TEST(BatchPolicyWaitTest, NorWhereSlotsAreFreeBeforeTheirBatchesEnd) {
  ExpectWaitsWithinTheFormula(/*reads_early=*/true, /*lanes_per_device=*/1);
}

}  // namespace
}  // namespace mlpserve
