#include "tests/server/engine/fake_backend.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mlpserve {
namespace {

constexpr std::chrono::seconds kLongestWait{10};

// Not shared among threads, for ThreadSanitizer: see BatchPolicy::Settle.
absl::Status Unshared(const absl::Status& status) { return {status.code(), status.message()}; }

}  // namespace

std::vector<float> FakeResult(const std::vector<float>& row, int64_t output_features) {
  std::vector<float> result(static_cast<size_t>(output_features));
  for (size_t j = 0; j < result.size(); ++j) result[j] = -row[j % row.size()];
  return result;
}

class FakeBackend::Block final : public LoadedBlock {
 public:
  Block(FakeBackend& backend, const BlockSpec& spec, const Placement& placement)
      : backend_(backend),
        placement_(placement),
        element_bytes_(ByteSize(spec.input_type)),
        inputs_(static_cast<size_t>(spec.input_features())),
        outputs_(static_cast<size_t>(spec.output_features())),
        ready_rows_(backend.options_.first_rows > 0
                        ? std::min(backend.options_.first_rows, placement.max_rows)
                        : placement.max_rows),
        lane_busy_(static_cast<size_t>(placement.lanes)),
        slot_busy_(static_cast<size_t>(placement.slots)),
        output_busy_(static_cast<size_t>(placement.outputs)) {
    const auto rows = static_cast<size_t>(placement.max_rows);
    for (int i = 0; i < placement.slots; ++i) slots_.emplace_back(rows * input_row_bytes());
    for (int i = 0; i < placement.outputs; ++i) results_.emplace_back(rows * output_row_bytes());
    if (backend.options_.mode != FakeMode::kThreads) return;
    for (int i = 0; i < placement.lanes; ++i) threads_.emplace_back(&Block::Serve, this);
  }

  ~Block() override {
    {
      MutexLock lock(mutex_);
      stop_ = true;
      queued_.NotifyAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  const Placement& placement() const override { return placement_; }

  std::vector<BatchTime> batch_times() const override { return backend_.options_.batch_times; }

  int64_t Bucket(int64_t rows) const override {
    for (const int64_t bucket : placement_.buckets) {
      if (bucket >= rows) return bucket;
    }
    return placement_.max_rows;
  }

  std::span<std::byte> input(int slot) override { return slots_[static_cast<size_t>(slot)]; }
  std::span<std::byte> output(int buffer) override { return results_[static_cast<size_t>(buffer)]; }
  std::vector<KernelVariant> variants() const override { return {}; }
  BlockMemory memory() const override {
    const auto bytes = static_cast<int64_t>(slots_.size() * slots_[0].size() +
                                            results_.size() * results_[0].size());
    return {.buffers = bytes, .buffers_reserved = bytes};
  }

  int64_t ready_rows() const override { return ready_rows_.load(); }
  void Grow() override { ready_rows_.store(std::min(2 * ready_rows_.load(), placement_.max_rows)); }

  void Run(const BatchRun& run, BatchEvents& events) override {
    if (absl::Status status = Take(run); !status.ok()) {
      const TimePoint now = Clock::now();
      events.OnDone(run, status, {now, now, now, now});
      return;
    }
    const Held batch{.block = this, .run = run, .events = &events};
    switch (backend_.options_.mode) {
      case FakeMode::kInline:
        return Finish(batch);
      case FakeMode::kHeld:
        return backend_.Hold(batch);
      case FakeMode::kThreads:
        MutexLock lock(mutex_);
        queue_.push_back(batch);
        queued_.NotifyOne();
    }
  }

  void ReadInput(const BatchRun& run, BatchEvents& events) {
    Compute(run);
    {
      MutexLock lock(mutex_);
      slot_busy_[static_cast<size_t>(run.slot)] = false;
    }
    events.OnInputRead(run);
  }

  void Finish(const Held& batch) {
    const BatchRun& run = batch.run;
    BatchTiming timing;
    timing.started = timing.infer_started = Clock::now();
    const absl::Status status = backend_.run_status();
    bool read = batch.read;
    if (!read && status.ok()) {
      read = backend_.options_.reads_early;
      if (read) {
        ReadInput(run, *batch.events);
      } else {
        Compute(run);
      }
    }
    const Duration time = backend_.options_.run_time + run.rows * backend_.options_.row_time;
    if (time > Duration::zero()) std::this_thread::sleep_for(time);
    timing.infer_ended = timing.done = Clock::now();
    GiveBack(run, /*with_slot=*/!read);
    if (absl::Status lost = backend_.lost(); !lost.ok()) return batch.events->OnLost(run, lost);
    batch.events->OnDone(run, status, timing);
  }

 private:
  size_t input_row_bytes() const { return inputs_ * element_bytes_; }
  size_t output_row_bytes() const { return outputs_ * element_bytes_; }

  absl::Status Take(const BatchRun& run) {
    MutexLock lock(mutex_);
    const auto bad = [](const std::vector<bool>& busy, int i) {
      return i < 0 || static_cast<size_t>(i) >= busy.size() || busy[static_cast<size_t>(i)];
    };
    if (bad(lane_busy_, run.lane) || bad(slot_busy_, run.slot) || bad(output_busy_, run.output) ||
        run.rows < 1 || run.rows > ready_rows()) {
      return absl::InternalError(absl::StrCat(
          "expected an idle lane, slot and output and 1 to ", ready_rows(), " rows, got lane ",
          run.lane, ", slot ", run.slot, ", output ", run.output, ", rows ", run.rows));
    }
    lane_busy_[static_cast<size_t>(run.lane)] = true;
    slot_busy_[static_cast<size_t>(run.slot)] = true;
    output_busy_[static_cast<size_t>(run.output)] = true;
    return absl::OkStatus();
  }

  void GiveBack(const BatchRun& run, bool with_slot) {
    MutexLock lock(mutex_);
    lane_busy_[static_cast<size_t>(run.lane)] = false;
    if (with_slot) slot_busy_[static_cast<size_t>(run.slot)] = false;
    output_busy_[static_cast<size_t>(run.output)] = false;
  }

  void Compute(const BatchRun& run) {
    const std::byte* x = slots_[static_cast<size_t>(run.slot)].data();
    std::byte* y = results_[static_cast<size_t>(run.output)].data();
    for (int64_t row = 0; row < run.rows; ++row, x += input_row_bytes()) {
      for (size_t j = 0; j < outputs_; ++j, y += element_bytes_) {
        std::memcpy(y, x + j % inputs_ * element_bytes_, element_bytes_);
        y[element_bytes_ - 1] ^= std::byte{0x80};  // little-endian: the sign is in the last byte
      }
    }
  }

  void Serve() {
    for (;;) {
      Held next;
      {
        MutexLock lock(mutex_);
        while (!stop_ && queue_.empty()) queued_.Wait(mutex_);
        if (queue_.empty()) return;
        next = queue_.front();
        queue_.pop_front();
      }
      Finish(next);
    }
  }

  FakeBackend& backend_;
  const Placement placement_;
  const size_t element_bytes_;
  const size_t inputs_;
  const size_t outputs_;
  std::vector<std::vector<std::byte>> slots_;
  std::vector<std::vector<std::byte>> results_;
  std::atomic<int64_t> ready_rows_;

  Mutex mutex_;
  CondVar queued_;
  std::deque<Held> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> lane_busy_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> slot_busy_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> output_busy_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

FakeBackend::FakeBackend(Options options) : options_(options) {}
FakeBackend::~FakeBackend() = default;

absl::StatusOr<Placement> FakeBackend::Prepare(const BlockSpec& block,
                                               const BatchingOptions& options) const {
  if (block.input_type != block.output_type) {
    return absl::UnimplementedError("fake: expected equal input and output datatypes");
  }
  Placement placement{.devices = devices(),
                      .lanes = options_.lanes,
                      .lanes_per_device = options_.lanes_per_device,
                      .slots = options_.slots,
                      .outputs = options_.outputs,
                      .max_rows = options.max_rows,
                      .buckets = options.buckets,
                      .runs_inline = options_.mode == FakeMode::kInline};
  if (absl::Status status = Check(placement); !status.ok()) return status;
  placement.host_bytes = BufferBytes(block, placement);
  return placement;
}

absl::StatusOr<std::unique_ptr<LoadedBlock>> FakeBackend::Load(const BlockSpec& block,
                                                               const Placement& placement,
                                                               const LoadControl& control) {
  for (const absl::Status& status : {Check(placement), AwaitLoad(control), lost()}) {
    if (!status.ok()) return status;
  }
  return std::make_unique<Block>(*this, block, placement);
}

absl::Status FakeBackend::AwaitLoad(const LoadControl& control) {
  const std::stop_callback wake(control.stop, [this] {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  if (control.progress) control.progress({"pretending", 1, 2});
  MutexLock lock(mutex_);
  last_control_ = control;
  ++loads_held_;
  changed_.NotifyAll();
  while (holds_loads_ && !control.stop.stop_requested()) changed_.Wait(mutex_);
  --loads_held_;
  if (control.stop.stop_requested()) return absl::CancelledError("the load was stopped");
  return Unshared(load_status_);
}

void FakeBackend::HoldLoads(bool hold) {
  MutexLock lock(mutex_);
  holds_loads_ = hold;
  changed_.NotifyAll();
}

bool FakeBackend::WaitUntilLoadIsHeld() const {
  const TimePoint limit = Clock::now() + kLongestWait;
  MutexLock lock(mutex_);
  while (loads_held_ == 0) {
    if (!changed_.WaitUntil(mutex_, limit)) return loads_held_ > 0;
  }
  return true;
}

LoadControl FakeBackend::last_control() const {
  MutexLock lock(mutex_);
  return last_control_;
}

void FakeBackend::FailLoads(absl::Status status) {
  MutexLock lock(mutex_);
  load_status_ = std::move(status);
}

void FakeBackend::FailRuns(absl::Status status) {
  MutexLock lock(mutex_);
  run_status_ = std::move(status);
}

void FakeBackend::Lose(absl::Status reason) {
  {
    MutexLock lock(mutex_);
    lost_ = std::move(reason);
  }
  ReleaseAll();
}

absl::Status FakeBackend::run_status() const {
  MutexLock lock(mutex_);
  return Unshared(run_status_);
}

absl::Status FakeBackend::lost() const {
  MutexLock lock(mutex_);
  return Unshared(lost_);
}

void FakeBackend::Hold(const Held& held) {
  {
    MutexLock lock(mutex_);
    if (lost_.ok()) {
      held_.push_back(held);
      changed_.NotifyAll();
      return;
    }
  }
  held.block->Finish(held);
}

int FakeBackend::held() const {
  MutexLock lock(mutex_);
  return static_cast<int>(held_.size());
}

BatchRun FakeBackend::held_run(int index) const {
  MutexLock lock(mutex_);
  return held_.at(static_cast<size_t>(index)).run;
}

bool FakeBackend::WaitUntilHeld(int count) const {
  const TimePoint limit = Clock::now() + kLongestWait;
  MutexLock lock(mutex_);
  while (static_cast<int>(held_.size()) < count) {
    if (!changed_.WaitUntil(mutex_, limit)) return static_cast<int>(held_.size()) >= count;
  }
  return true;
}

void FakeBackend::ReadInput(int index) {
  Held batch;
  {
    MutexLock lock(mutex_);
    Held& held = held_.at(static_cast<size_t>(index));
    held.read = true;
    batch = held;
  }
  batch.block->ReadInput(batch.run, *batch.events);
}

void FakeBackend::NearEnd(int index) {
  Held batch;
  {
    MutexLock lock(mutex_);
    batch = held_.at(static_cast<size_t>(index));
  }
  batch.events->OnNearlyDone(batch.run);
}

FakeBackend::Held FakeBackend::TakeHeld(int index) {
  MutexLock lock(mutex_);
  const Held held = held_.at(static_cast<size_t>(index));
  held_.erase(held_.begin() + index);
  return held;
}

void FakeBackend::Release(int index) {
  const Held held = TakeHeld(index);
  held.block->Finish(held);
}

void FakeBackend::ReleaseAll() {
  while (held() > 0) Release();
}

}  // namespace mlpserve
