// Several lanes and blocks at once, and blocks that are loaded, that fail to load and that end
// while others run.
#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "kernels/spec/rounding.h"
#include "server/batching/batch_threads.h"
#include "server/lifecycle/served_block.h"
#include "tests/conformance/conformance.h"
#include "tests/kernels/reference/random_block.h"

namespace mlpserve {
namespace {

// A block with batches of several sizes, and what they must give.
class KnownBlock {
 public:
  struct Case {
    std::vector<float> x;
    OracleResult expected;
  };

  static constexpr int64_t kMaxRows = 40;

  explicit KnownBlock(uint64_t seed) : spec_(RandomBlock({.features = {24, 70, 24}}, seed)) {
    std::mt19937_64 random(seed);
    for (const int64_t rows : {1, 3, 17, 40}) {
      std::vector<float> x = RandomRows(rows, 24, spec_.input_type, random);
      OracleResult expected = EvaluateOracle(spec_, x, rows);
      cases_.push_back({std::move(x), std::move(expected)});
    }
  }

  const BlockSpec& spec() const { return spec_; }
  const std::vector<Case>& cases() const { return cases_; }

 private:
  BlockSpec spec_;
  std::vector<Case> cases_;
};

// Runs every case on one lane, in slots and outputs that no other lane uses.
void RunOnLane(LoadedBlock& loaded, const KnownBlock& known, int lane) {
  for (const KnownBlock::Case& one : known.cases()) {
    const BatchRun run{.slot = lane, .output = lane, .lane = lane, .rows = one.expected.rows};
    FillSlot(loaded, known.spec(), run, one.x);
    BatchResult result;
    loaded.Run(run, result);
    const absl::Status status = result.Wait();
    ASSERT_TRUE(status.ok()) << status;
    const WorstValue worst = FindWorst(one.expected, ReadOutput(loaded, known.spec(), run));
    ASSERT_TRUE(worst.ok()) << "lane " << lane << ": " << ToString(worst) << "\n"
                            << Describe(known.spec());
  }
}

// Keeps every lane of the block busy until it is told to stop.
std::vector<std::jthread> KeepBusy(LoadedBlock& loaded, const KnownBlock& known,
                                   std::atomic<int64_t>& rounds) {
  std::vector<std::jthread> lanes;
  for (int lane = 0; lane < loaded.placement().lanes; ++lane) {
    lanes.emplace_back([&loaded, &known, &rounds, lane](const std::stop_token& stop) {
      do {
        RunOnLane(loaded, known, lane);
        ++rounds;
      } while (!stop.stop_requested() && !testing::Test::HasFailure());
    });
  }
  return lanes;
}

void AwaitRounds(const std::atomic<int64_t>& rounds, int64_t more) {
  const int64_t wanted = rounds + more;
  while (rounds < wanted && !testing::Test::HasFailure()) std::this_thread::yield();
}

void GrowFully(LoadedBlock& loaded) {
  while (loaded.ready_rows() < loaded.placement().max_rows) {
    loaded.Grow();
    std::this_thread::yield();
  }
}

TEST_P(BackendConformance, EveryLaneOfTwoBlocksComputesItsOwnAtTheSameTime) {
  const KnownBlock first(11), second(12);
  const auto one = Load(first.spec(), KnownBlock::kMaxRows);
  const auto other = Load(second.spec(), KnownBlock::kMaxRows);
  ASSERT_TRUE(one != nullptr && other != nullptr);
  ASSERT_GE(one->placement().slots, one->placement().lanes);
  GrowFully(*one);
  GrowFully(*other);
  std::atomic<int64_t> rounds{0};
  const auto lanes = KeepBusy(*one, first, rounds);
  const auto more_lanes = KeepBusy(*other, second, rounds);
  AwaitRounds(rounds, 60);
}

TEST_P(BackendConformance, BlocksThatLoadFailAndEndDisturbNoOther) {
  const KnownBlock busy(13), guest(14);
  const auto loaded = Load(busy.spec(), KnownBlock::kMaxRows);
  ASSERT_NE(loaded, nullptr);
  GrowFully(*loaded);
  std::atomic<int64_t> rounds{0};
  const auto lanes = KeepBusy(*loaded, busy, rounds);
  for (int i = 0; i < 3; ++i) {
    const Placement placement = *backend_->Prepare(guest.spec(), {.max_rows = 40});
    std::stop_source stopped;
    stopped.request_stop();
    EXPECT_EQ(
        backend_->Load(guest.spec(), placement, {.stop = stopped.get_token()}).status().code(),
        absl::StatusCode::kCancelled);
    Placement impossible = placement;
    impossible.outputs = 0;
    EXPECT_EQ(backend_->Load(guest.spec(), impossible, {}).status().code(),
              absl::StatusCode::kInvalidArgument);
    auto passing = backend_->Load(guest.spec(), placement, {.may_measure = false});
    ASSERT_TRUE(passing.ok()) << passing.status();
    GrowFully(**passing);
    RunOnLane(**passing, guest, 0);
    passing->reset();
    AwaitRounds(rounds, 5);
  }
}

TEST_P(BackendConformance, WhatPrepareSaysIsWhatLoadDoes) {
  const KnownBlock known(15);
  const auto placement = backend_->Prepare(known.spec(), {.max_rows = 40});
  ASSERT_TRUE(placement.ok()) << placement.status();
  EXPECT_FALSE(placement->devices.empty());
  EXPECT_GT(placement->host_bytes + placement->device_bytes, 0);
  int64_t done = 0, total = 0;
  const auto loaded =
      backend_->Load(known.spec(), *placement, {.progress = [&](const LoadProgress& progress) {
                       EXPECT_FALSE(progress.step.empty());
                       EXPECT_LE(progress.done, progress.total);
                       done = progress.done;
                       total = progress.total;
                     }});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  LoadedBlock& block = **loaded;
  EXPECT_EQ(block.placement().lanes, placement->lanes);
  EXPECT_EQ(block.placement().slots, placement->slots);
  EXPECT_EQ(block.placement().outputs, placement->outputs);
  EXPECT_EQ(block.memory().buffers_reserved, BufferBytes(known.spec(), *placement));
  EXPECT_LE(block.memory().buffers, block.memory().buffers_reserved);
  EXPECT_GE(block.ready_rows(), 1);
  EXPECT_LE(done, total);

  const std::byte* const input = block.input(0).data();
  const std::byte* const output = block.output(0).data();
  GrowFully(block);
  EXPECT_EQ(block.input(0).data(), input) << "a slot moved";
  EXPECT_EQ(block.output(0).data(), output) << "an output moved";
  EXPECT_EQ(block.ready_rows(), 40);
  EXPECT_EQ(backend_->Prepare(known.spec(), {.max_rows = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// One case of a block as a request; says what was wrong with its answer.
struct KnownRequest final : InferRequest {
  KnownRequest(const KnownBlock& known, const KnownBlock::Case& one)
      : spec(known.spec()),
        expected(one.expected),
        bytes_(one.x.size() * ByteSize(spec.input_type)) {
    for (size_t i = 0; i < one.x.size(); ++i) {
      WriteElement(spec.input_type, one.x[i], &bytes_[i * ByteSize(spec.input_type)]);
    }
    rows = expected.rows;
    span_ = bytes_;
    input = {&span_, 1};
  }

  void OnDone(absl::Status answer, std::span<OutputRows> outputs) override {
    status = std::move(answer);
    const size_t element = ByteSize(spec.output_type);
    std::vector<float> y;
    for (const OutputRows& part : outputs) {
      for (size_t i = 0; i < part.bytes.size(); i += element) {
        y.push_back(ReadElement(spec.output_type, &part.bytes[i]));
      }
    }
    right = status.ok() && FindWorst(expected, y).ok();
    done = true;
  }

  void SubmitAndWait(InferSink& sink) {
    sink.Submit(*this);
    while (!done) std::this_thread::yield();
  }

  const BlockSpec& spec;
  const OracleResult& expected;
  absl::Status status;
  bool right = false;
  std::atomic<bool> done{false};

 private:
  std::vector<std::byte> bytes_;
  std::span<const std::byte> span_;
};

// Requests of other sizes are gathered, split and given back; then one block ends under the load of
// the other.
TEST_P(BackendConformance, ClientsOfTwoBlocksGetTheirOwnRowsAlsoWhileOneEnds) {
  BatchThreads threads({.runners = 2});
  const KnownBlock stays(16), ends(17);
  const auto serve = [&](const KnownBlock& known) {
    return ServedBlock::Create({.backend = *backend_, .threads = threads}, known.spec(),
                               {.max_rows = 20, .max_queued_rows = 1000}, {}, nullptr);
  };
  auto staying = serve(stays);
  auto ending = serve(ends);
  ASSERT_TRUE(staying.ok() && ending.ok()) << staying.status() << ending.status();
  const auto stay = ServedBlock::Sink(*std::move(staying));
  auto end = ServedBlock::Sink(*std::move(ending));

  std::atomic<int> wrong{0};
  std::atomic<int64_t> rounds{0};
  const auto client = [&](const KnownBlock& known, InferSink& sink, int64_t count,
                          const std::stop_token& stop) {
    for (int64_t i = 0; i < count && !stop.stop_requested(); ++i) {
      for (const KnownBlock::Case& one : known.cases()) {
        KnownRequest request(known, one);
        request.SubmitAndWait(sink);
        if (!request.right) ++wrong;
      }
      ++rounds;
    }
  };
  std::vector<std::jthread> lasting, short_lived;
  for (int i = 0; i < 3; ++i) {
    lasting.emplace_back(
        [&](const std::stop_token& stop) { client(stays, *stay, INT64_MAX, stop); });
    short_lived.emplace_back([&] { client(ends, *end, 20, {}); });
  }
  short_lived.clear();  // its clients have gone
  end.reset();          // and with them the block, while the other's go on
  AwaitRounds(rounds, 20);
  lasting.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace mlpserve
