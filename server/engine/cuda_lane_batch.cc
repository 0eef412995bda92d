#include "server/engine/cuda_lane_batch.h"

#include <algorithm>
#include <utility>

namespace mlpserve {
namespace {

// Fewer bytes are copied before anybody else could fill the slot.
constexpr int64_t kLeastBytesToSay = int64_t{256} << 10;
// A shorter batch leaves no time to start another beside it.
constexpr std::chrono::microseconds kLeastTimeToSay{100};
// What it takes to seal a slot and to start its batch.
constexpr std::chrono::microseconds kLead{30};

void TellEnd(const BatchRun& run, const absl::Status& status, const BatchTiming& timing,
             BatchEvents& events) {
  if (absl::IsUnavailable(status)) {
    events.OnLost(run, status);
  } else {
    events.OnDone(run, status, timing);
  }
}

}  // namespace

CudaLaneBatch::CudaLaneBatch(std::unique_ptr<cuda::Lane> lane, CompletionWatch& watch)
    : lane_(std::move(lane)), watch_(watch), took_(lane_->block().plan().buckets.size()) {}

void CudaLaneBatch::Start(const BatchRun& run, const std::byte* input, std::byte* output,
                          BatchEvents& events) {
  const TimePoint now = Clock::now();
  const absl::Status status = lane_->Start(input, output, run.rows);
  if (!status.ok()) {
    TellEnd(run, status, {now, now, now, Clock::now()}, events);
    return;
  }
  run_ = run;
  events_ = &events;
  started_ = now;
  nearly_done_ = WhenNearlyDone(run.rows);
  reads_early_ = lane_->block().plan().wire_input.bytes(run.rows) >= kLeastBytesToSay;
  watch_.Add(*this);
}

// So that the next batch's rows are copied when this one's kernels end, if it is like the last one
// of its bucket.
TimePoint CudaLaneBatch::WhenNearlyDone(int64_t rows) const {
  const Took& last = took_[lane_->block().plan().BucketOf(rows)];
  if (last.until_computed < kLeastTimeToSay) return TimePoint::max();
  return started_ + last.until_computed - last.copy_in - kLead;
}

bool CudaLaneBatch::Look(TimePoint now) {
  seen_ = See(now);
  return seen_ != Seen::kNothing;
}

CudaLaneBatch::Seen CudaLaneBatch::See(TimePoint now) {
  const auto happened = [this](absl::StatusOr<bool> asked) {
    status_ = asked.status();
    return asked.ok() ? *asked : true;
  };
  if (reads_early_ && happened(lane_->InputRead())) {
    return status_.ok() ? Seen::kInputRead : Seen::kEnd;
  }
  if (happened(lane_->Done())) return Seen::kEnd;
  return now >= nearly_done_ ? Seen::kNearlyDone : Seen::kNothing;
}

bool CudaLaneBatch::Tell() {
  switch (seen_) {
    case Seen::kEnd:
      End();
      return false;
    case Seen::kInputRead:
      reads_early_ = false;
      events_->OnInputRead(run_);
      return true;
    case Seen::kNearlyDone:
      nearly_done_ = TimePoint::max();
      events_->OnNearlyDone(run_);
      return true;
    case Seen::kNothing:
      break;
  }
  return true;
}

// Once the end is told, another thread may start the lane's next batch.
void CudaLaneBatch::End() {
  BatchTiming timing{.started = started_,
                     .infer_started = started_,
                     .infer_ended = started_,
                     .done = Clock::now()};
  if (status_.ok()) {
    const absl::StatusOr<cuda::RunTimes> took = lane_->Times();
    status_ = took.status();
    if (took.ok()) {
      // The device's clock says how long, ours when: what is left over was spent on launching.
      timing.infer_ended = std::max(started_, timing.done - took->copy_out);
      timing.infer_started = std::max(started_, timing.infer_ended - took->compute);
      took_[lane_->block().plan().BucketOf(run_.rows)] = {
          .until_computed = timing.infer_ended - started_, .copy_in = took->copy_in};
    }
  }
  TellEnd(BatchRun(run_), absl::Status(status_), timing, *events_);
}

}  // namespace mlpserve
