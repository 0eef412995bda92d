#include "tests/server/engine/fake_backend.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mlpserve {

std::vector<float> FakeResult(const std::vector<float>& row, int64_t output_features) {
  std::vector<float> result(static_cast<size_t>(output_features));
  for (size_t j = 0; j < result.size(); ++j) result[j] = -row[j % row.size()];
  return result;
}

class FakeBackend::Block final : public LoadedBlock {
 public:
  Block(FakeBackend& backend, const BlockSpec& spec, const LoadOptions& options)
      : backend_(backend),
        max_rows_(options.max_rows),
        buckets_(options.buckets),
        element_bytes_(ByteSize(spec.input_type)),
        inputs_(static_cast<size_t>(spec.input_features())),
        outputs_(static_cast<size_t>(spec.output_features())),
        lane_busy_(static_cast<size_t>(backend.options_.lanes)),
        slot_busy_(static_cast<size_t>(options.slots)),
        output_busy_(static_cast<size_t>(options.outputs)) {
    const auto rows = static_cast<size_t>(max_rows_);
    for (int i = 0; i < options.slots; ++i) slots_.emplace_back(rows * input_row_bytes());
    for (int i = 0; i < options.outputs; ++i) results_.emplace_back(rows * output_row_bytes());
    if (backend.options_.mode != FakeMode::kThreads) return;
    for (int i = 0; i < lanes(); ++i) threads_.emplace_back(&Block::Serve, this);
  }

  ~Block() override {
    {
      MutexLock lock(mutex_);
      stop_ = true;
      queued_.NotifyAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  int lanes() const override { return backend_.options_.lanes; }

  int64_t Bucket(int64_t rows) const override {
    for (const int64_t bucket : buckets_) {
      if (bucket >= rows) return bucket;
    }
    return max_rows_;
  }

  std::span<std::byte> input(int slot) override { return slots_[static_cast<size_t>(slot)]; }
  std::span<std::byte> output(int buffer) override { return results_[static_cast<size_t>(buffer)]; }
  std::vector<KernelVariant> variants() const override { return {}; }

  void Run(const BatchRun& run, const Done& done) override {
    if (absl::Status status = Take(run); !status.ok()) {
      const TimePoint now = Clock::now();
      done(status, {now, now, now, now});
      return;
    }
    switch (backend_.options_.mode) {
      case FakeMode::kInline:
        return Finish(run, done);
      case FakeMode::kHeld:
        return backend_.Hold(this, run, done);
      case FakeMode::kThreads:
        MutexLock lock(mutex_);
        queue_.emplace_back(run, done);
        queued_.NotifyOne();
    }
  }

  void Finish(const BatchRun& run, const BatchDone& done) {
    BatchTiming timing;
    timing.started = timing.infer_started = Clock::now();
    if (backend_.options_.run_time > Duration::zero()) {
      std::this_thread::sleep_for(backend_.options_.run_time);
    }
    const absl::Status status = backend_.run_status();
    if (status.ok()) Compute(run);
    timing.infer_ended = timing.done = Clock::now();
    {
      MutexLock lock(mutex_);
      lane_busy_[static_cast<size_t>(run.lane)] = false;
      slot_busy_[static_cast<size_t>(run.slot)] = false;
      output_busy_[static_cast<size_t>(run.output)] = false;
    }
    done(status, timing);
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
        run.rows < 1 || run.rows > max_rows_) {
      return absl::InternalError(absl::StrCat(
          "expected an idle lane, slot and output and 1 to ", max_rows_, " rows, got lane ",
          run.lane, ", slot ", run.slot, ", output ", run.output, ", rows ", run.rows));
    }
    lane_busy_[static_cast<size_t>(run.lane)] = true;
    slot_busy_[static_cast<size_t>(run.slot)] = true;
    output_busy_[static_cast<size_t>(run.output)] = true;
    return absl::OkStatus();
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
      std::optional<std::pair<BatchRun, BatchDone>> next;
      {
        MutexLock lock(mutex_);
        while (!stop_ && queue_.empty()) queued_.Wait(mutex_);
        if (queue_.empty()) return;
        next = std::move(queue_.front());
        queue_.pop_front();
      }
      Finish(next->first, next->second);
    }
  }

  FakeBackend& backend_;
  const int64_t max_rows_;
  const std::vector<int64_t> buckets_;
  const size_t element_bytes_;
  const size_t inputs_;
  const size_t outputs_;
  std::vector<std::vector<std::byte>> slots_;
  std::vector<std::vector<std::byte>> results_;

  Mutex mutex_;
  CondVar queued_;
  std::deque<std::pair<BatchRun, BatchDone>> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> lane_busy_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> slot_busy_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> output_busy_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

FakeBackend::FakeBackend(Options options) : options_(options) {}
FakeBackend::~FakeBackend() = default;

absl::StatusOr<std::unique_ptr<LoadedBlock>> FakeBackend::Load(const BlockSpec& block,
                                                               const LoadOptions& options) {
  {
    MutexLock lock(mutex_);
    if (!load_status_.ok()) return load_status_;
  }
  if (block.input_type != block.output_type) {
    return absl::UnimplementedError("fake: expected equal input and output datatypes");
  }
  if (options.slots < 1 || options.outputs < options_.lanes || options.max_rows < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "fake: expected a slot, an output for each of ", options_.lanes, " lanes and a row, got ",
        options.slots, ", ", options.outputs, " and ", options.max_rows));
  }
  return std::make_unique<Block>(*this, block, options);
}

void FakeBackend::FailLoads(absl::Status status) {
  MutexLock lock(mutex_);
  load_status_ = std::move(status);
}

void FakeBackend::FailRuns(absl::Status status) {
  MutexLock lock(mutex_);
  run_status_ = std::move(status);
}

absl::Status FakeBackend::run_status() const {
  MutexLock lock(mutex_);
  return absl::Status(run_status_.code(), run_status_.message());  // unshared, for TSan
}

void FakeBackend::Hold(Block* block, const BatchRun& run, const BatchDone& done) {
  MutexLock lock(mutex_);
  held_.push_back({block, run, done});
  changed_.NotifyAll();
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
  const TimePoint limit = Clock::now() + std::chrono::seconds(10);
  MutexLock lock(mutex_);
  while (static_cast<int>(held_.size()) < count) {
    if (!changed_.WaitUntil(mutex_, limit)) return static_cast<int>(held_.size()) >= count;
  }
  return true;
}

void FakeBackend::Release(int index) {
  std::optional<Held> held;
  {
    MutexLock lock(mutex_);
    held = std::move(held_.at(static_cast<size_t>(index)));
    held_.erase(held_.begin() + index);
  }
  held->block->Finish(held->run, held->done);
}

void FakeBackend::ReleaseAll() {
  while (held() > 0) Release();
}

}  // namespace mlpserve
