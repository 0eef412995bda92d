// Drives the policy with random events, checks its invariants after each, and keeps books of its
// own: every row of every request that is answered with OK was in exactly one delivered piece.
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/batching/policy.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
using Ticket = BatchPolicy::Ticket;

class RandomWalk {
 public:
  // `load` of 4 is far more than the lanes can do, 1 leaves them idle at times.
  RandomWalk(const BatchPolicy::Options& options, int load, unsigned seed)
      : options_(options), load_(load), random_(seed), policy_(options) {}

  void Step() {
    now_ += microseconds(Below(4));
    switch (Below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return Below(4) < load_ ? Submit() : BatchDone();
      case 4:
        return Cancel();
      case 5:
      case 6:
      case 7:
        return CopyDone();
      case 8:
      case 9:
        return Dispatch();
      case 10:
        return InputRead();
      case 11:
        return BatchDone();
      case 12:
      case 13:
        return Delivered();
      case 14:
        return Below(2) == 0 ? Released() : NearlyDone();
      default:
        Grow();
        return Tick();
    }
  }

  void Check() {
    const std::string broken = policy_.CheckInvariants(told_);
    ASSERT_EQ(broken, "");
  }

  // Runs out what is left: nothing may be stuck, and everything must have been answered.
  void Finish() {
    for (int i = 0; i < 1'000'000 && !(policy_.Idle() && lent_.empty()); ++i) {
      now_ += microseconds(i % 16 == 0 ? 1000 : 0);
      CopyDone();
      Dispatch();
      BatchDone();
      Delivered();
      Released();
      Tick();
      Check();
    }
    EXPECT_TRUE(policy_.Idle());
    EXPECT_EQ(policy_.lent_outputs(), 0);
    EXPECT_EQ(policy_.queued_rows(), 0);
    EXPECT_EQ(policy_.slots_in_use(), 0);
    EXPECT_TRUE(alive_.empty());
    EXPECT_EQ(answered_, admitted_);
  }

  int64_t events_ = 0;  // that the policy was told of
  int64_t admitted_ = 0;
  int64_t answered_ = 0;
  int64_t served_ = 0;
  std::map<absl::StatusCode, int64_t> refused_;
  std::map<Eviction, int64_t> evicted_;
  int64_t copied_out_ = 0;
  int64_t split_ = 0;
  int64_t read_early_ = 0;

 private:
  struct Book {
    int64_t rows;
    std::vector<bool> delivered;
  };
  struct Batch {
    int output;
    bool copy_out;
  };

  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  void Submit() {
    BatchPolicy::Ask ask;
    ask.rows = Below(4) == 0 ? Below(static_cast<int>(options_.batching.max_queued_rows) + 3) - 1
                             : 1 + Below(static_cast<int>(options_.batching.max_rows));
    ask.priority = Below(options_.batching.priority_levels + 2) - (Below(50) == 0 ? 1 : 0);
    if (Below(4) == 0) ask.deadline = now_ + microseconds(Below(200) - 5);
    if (Below(4) == 0) ask.queue_timeout = microseconds(1 + Below(200));
    BatchPolicy::Actions actions;
    ++events_;
    const auto ticket = policy_.Submit(told_ = now_, ask, actions);
    Complete(actions);
    if (!ticket.ok()) {
      ++refused_[ticket.status().code()];
    } else {
      ASSERT_EQ(alive_.count(*ticket), 0u) << "the ticket is in use";
      alive_[*ticket] = {ask.rows, std::vector<bool>(static_cast<size_t>(ask.rows))};
      ++admitted_;
      if (actions.copies.size() > 1) ++split_;
    }
    Copies(actions);
  }

  void Cancel() {
    if (alive_.empty()) return;
    auto it = alive_.lower_bound(Below(alive_.rbegin()->first + 1));
    BatchPolicy::Actions actions;
    ++events_;
    policy_.Cancel(told_ = now_, it->first, actions);
    Complete(actions);
    Copies(actions);
  }

  // A thread's copies of one slot are reported together; threads overtake each other.
  void CopyDone() {
    if (copies_.empty()) return;
    const auto at = copies_.begin() + Below(static_cast<int>(copies_.size()));
    const std::vector<BatchPolicy::Copy> group = std::move(*at);
    copies_.erase(at);
    BatchPolicy::Actions actions;
    ++events_;
    policy_.CopyDone(told_ = now_, group, actions);
    Complete(actions);
    Copies(actions);
  }

  void Dispatch() {
    const bool can = policy_.CanDispatch();
    const auto run = policy_.Dispatch(now_);
    ASSERT_EQ(run.has_value(), can);
    if (!run) return;
    told_ = now_;
    ASSERT_GE(run->rows, 1);
    ASSERT_LE(run->rows, options_.batching.max_rows);
    lanes_.push_back(run->lane);
    unread_.insert(run->lane);
    ++events_;
  }

  // A lane that is told so keeps its batch.
  void InputRead() {
    if (lanes_.empty()) return;
    const int lane = lanes_[static_cast<size_t>(Below(static_cast<int>(lanes_.size())))];
    if (Below(2) == 0 || !unread_.contains(lane)) return;
    unread_.erase(lane);
    BatchPolicy::Actions actions;
    ++events_;
    policy_.InputRead(told_ = now_, lane, actions);
    ++read_early_;
    Complete(actions);
    Copies(actions);
  }

  void Grow() {
    if (Below(64) != 0) return;
    ++events_;
    policy_.SetSlotRows(policy_.slot_rows() + 1);
    ASSERT_LE(policy_.slot_rows(), options_.batching.max_rows);
  }

  void BatchDone() {
    if (lanes_.empty()) return;
    const auto at = lanes_.begin() + Below(static_cast<int>(lanes_.size()));
    const int lane = *at;
    lanes_.erase(at);
    unread_.erase(lane);
    BatchPolicy::Actions actions;
    ++events_;
    const auto ended = policy_.BatchDone(told_ = now_, lane, actions);
    ended_.push_back({ended.output, ended.copy_out});
    if (ended.copy_out) ++copied_out_;
    Complete(actions);
    Copies(actions);
  }

  void Delivered() {
    if (ended_.empty()) return;
    const auto at = ended_.begin() + Below(static_cast<int>(ended_.size()));
    const Batch batch = *at;
    ended_.erase(at);
    const bool fails = Below(16) == 0;
    const absl::Status status = fails ? absl::InternalError("") : absl::OkStatus();
    for (const auto& piece : policy_.Pieces(batch.output)) {
      if (fails || !policy_.Alive(piece.ticket)) continue;
      Book& book = alive_.at(piece.ticket);
      for (int64_t i = 0; i < piece.rows; ++i) {
        const auto row = static_cast<size_t>(piece.first_row + i);
        ASSERT_LT(row, book.delivered.size());
        ASSERT_FALSE(book.delivered[row]);
        book.delivered[row] = true;
      }
    }
    BatchPolicy::Actions actions;
    ++events_;
    policy_.Delivered(told_ = now_, batch.output, status, actions);
    if (!fails && !batch.copy_out) lent_.push_back(batch.output);
    Complete(actions);
    Copies(actions);
  }

  void NearlyDone() {
    if (lanes_.empty()) return;
    ++events_;
    policy_.NearlyDone(told_ = now_,
                       lanes_[static_cast<size_t>(Below(static_cast<int>(lanes_.size())))]);
  }

  void Released() {
    if (lent_.empty()) return;
    const auto at = lent_.begin() + Below(static_cast<int>(lent_.size()));
    policy_.OutputReleased(*at);
    ++events_;
    lent_.erase(at);
  }

  void Tick() {
    BatchPolicy::Actions actions;
    ++events_;
    policy_.Tick(told_ = now_, actions);
    Complete(actions);
    Copies(actions);
    ASSERT_GT(policy_.NextWake(), now_);
  }

  void Complete(BatchPolicy::Actions& actions) {
    for (const auto& completion : actions.completions) {
      const auto it = alive_.find(completion.ticket);
      ASSERT_NE(it, alive_.end()) << "answered twice, or never asked";
      ++answered_;
      if (completion.status.ok()) {
        ++served_;
        for (const bool row : it->second.delivered) ASSERT_TRUE(row);
      } else {
        ASSERT_FALSE(BeingCopied(completion.ticket)) << "answered while its rows are copied";
      }
      if (completion.eviction) ++evicted_[*completion.eviction];
      alive_.erase(it);
    }
    actions.completions.clear();
  }

  void Copies(const BatchPolicy::Actions& actions) {
    for (size_t i = 0; i < actions.copies.size(); ++i) {
      if (i == 0 || actions.copies[i].slot != actions.copies[i - 1].slot) copies_.emplace_back();
      copies_.back().push_back(actions.copies[i]);
    }
  }

  bool BeingCopied(Ticket ticket) const {
    for (const auto& group : copies_) {
      for (const auto& copy : group) {
        if (copy.piece.ticket == ticket) return true;
      }
    }
    return false;
  }

  const BatchPolicy::Options options_;
  const int load_;
  std::mt19937 random_;
  BatchPolicy policy_;
  TimePoint now_ = TimePoint(std::chrono::seconds(1000));
  TimePoint told_;  // the time that the policy was last told
  std::map<Ticket, Book> alive_;
  std::vector<std::vector<BatchPolicy::Copy>> copies_;
  std::vector<int> lanes_;
  std::set<int> unread_;  // of them
  std::vector<Batch> ended_;
  std::vector<int> lent_;
};

BatchPolicy::Options RandomOptions(std::mt19937& random) {
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  BatchPolicy::Options options;
  options.lanes_per_device = 1 + below(2);
  options.lanes = options.lanes_per_device * (1 + below(3));
  options.slots = 1 + below(5);
  options.outputs = options.lanes + below(4);
  options.batching.max_rows = 2 + below(7);
  options.batching.max_queued_rows = options.batching.max_rows + below(40);
  options.batching.max_queue_delay = microseconds(below(2) * below(60));
  options.batching.queue_timeout = microseconds(below(2) * below(300));
  options.batching.priority_levels = below(5);
  options.batching.default_priority = below(options.batching.priority_levels + 1);
  options.batching.one_request_per_batch = below(4) == 0;
  if (!options.batching.one_request_per_batch && below(2) == 0) options.slot_rows = 1 + below(2);
  if (below(2) == 0) {
    options.batch_times = {{1, microseconds(5)}, {8, microseconds(5 + below(40))}};
    options.batching.max_batch_time = microseconds(10 + below(40));
    options.batching.max_queued_time = microseconds(100 + below(200));
  }
  return options;
}

TEST(BatchPolicyRandomTest, AMillionEventsBreakNoInvariantAndLoseNoRow) {
  constexpr int kWalks = 220;
  constexpr int kSteps = 10'000;  // some find nothing to do
  const char* given = std::getenv("MLPSERVE_TEST_SEED");
  const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 20260u;
  int64_t events = 0, served = 0, split = 0, copied_out = 0, read_early = 0;
  std::map<absl::StatusCode, int64_t> refused;
  std::map<Eviction, int64_t> evicted;
  for (unsigned walk = 0; walk < kWalks; ++walk) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", walk " + std::to_string(walk));
    std::mt19937 random(seed + walk);
    RandomWalk policy(RandomOptions(random), 1 + static_cast<int>(walk % 4), seed + walk);
    for (int step = 0; step < kSteps; ++step) {
      policy.Step();
      policy.Check();
      if (HasFatalFailure()) return;
    }
    policy.Finish();
    if (HasFailure()) return;
    events += policy.events_;
    served += policy.served_;
    split += policy.split_;
    copied_out += policy.copied_out_;
    read_early += policy.read_early_;
    for (const auto& [code, count] : policy.refused_) refused[code] += count;
    for (const auto& [reason, count] : policy.evicted_) evicted[reason] += count;
  }
  // The walks went where it matters.
  EXPECT_GE(events, 1'000'000);
  EXPECT_GT(served, 10'000);
  EXPECT_GT(split, 1'000);
  EXPECT_GT(copied_out, 1'000);
  EXPECT_GT(read_early, 10'000);
  EXPECT_GT(refused[absl::StatusCode::kResourceExhausted], 1'000);
  EXPECT_GT(refused[absl::StatusCode::kInvalidArgument], 1'000);
  EXPECT_GT(refused[absl::StatusCode::kDeadlineExceeded], 100);
  EXPECT_GT(evicted[Eviction::kDeadline], 1'000);
  EXPECT_GT(evicted[Eviction::kTimeout], 1'000);
  EXPECT_GT(evicted[Eviction::kCancelled], 1'000);
}

}  // namespace
}  // namespace mlpserve
