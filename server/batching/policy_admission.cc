// BatchPolicy: what is refused.
#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/batching/policy.h"

namespace mlpserve {
namespace {

constexpr int kMostPriorityLevels = 64;
// A request whose time is limited is given no more than half of it to wait: what is before it may
// take longer than expected, and its answer must be sent too. That costs no throughput, as a queue
// of half the length keeps the device as busy; it decides who is refused, not how many.
constexpr int kReserve = 2;
constexpr Duration kLeastRetry = std::chrono::milliseconds(1);
constexpr Duration kMostRetry = std::chrono::seconds(1);

absl::Status CheckRange(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("batching: ", name, " must be ", low, " to ", high, ", got ", value));
}

int64_t Microseconds(Duration wait) {
  return std::chrono::duration_cast<std::chrono::microseconds>(wait).count();
}

}  // namespace

absl::Status BatchPolicy::Validate(const Options& options) {
  const int64_t any = int64_t{1} << 40;
  const BatchingOptions& batching = options.batching;
  for (const absl::Status& status : {
           CheckRange("slots", options.slots, 1, kMostBuffers),
           CheckRange("lanes", options.lanes, 1, kMostBuffers),
           CheckRange("lanes_per_device", options.lanes_per_device, 1, options.lanes),
           CheckRange("outputs", options.outputs, options.lanes, kMostBuffers),
           CheckRange("max_rows", batching.max_rows, batching.one_request_per_batch ? 2 : 1, any),
           CheckRange(
               "slot_rows", options.slot_rows,
               batching.one_request_per_batch && options.slot_rows > 0 ? batching.max_rows : 0,
               batching.max_rows),
           CheckRange("max_queued_rows", batching.max_queued_rows, 1, any),
           CheckRange("max_queue_delay in us", batching.max_queue_delay.count(), 0, any),
           CheckRange("max_batch_time in us", batching.max_batch_time.count(), 0, any),
           CheckRange("max_queued_time in us", batching.max_queued_time.count(), 1, any),
           CheckRange("queue_timeout in us", batching.queue_timeout.count(), 0, any),
           CheckRange("priority_levels", batching.priority_levels, 0, kMostPriorityLevels),
           CheckRange("default_priority", batching.default_priority, 0, batching.priority_levels),
       }) {
    if (!status.ok()) return status;
  }
  if (options.lanes % options.lanes_per_device == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("batching: lanes must be a multiple of ",
                                                 options.lanes_per_device,
                                                 " (lanes_per_device), got ", options.lanes));
}

// Rows that would get a place in a slot at once.
int64_t BatchPolicy::Room() const {
  const int64_t free = int64_t{std::popcount(free_slots_)} * batch_rows();
  return open_ < 0 ? free : free + batch_rows() - slots_[Index(open_)].rows;
}

bool BatchPolicy::ADeviceIsFree() const {
  return open_ < 0 && sealed_.empty() && queued_rows_ == 0 &&
         std::any_of(devices_.begin(), devices_.end(), [this](const Device& device) {
           return (LanesOf(static_cast<int>(&device - devices_.data())) & ~idle_lanes_) == 0;
         });
}

Duration BatchPolicy::TimeoutOf(const Ask& ask) const {
  return ask.queue_timeout > Duration::zero() ? ask.queue_timeout : batching_.queue_timeout;
}

// Of rows that are cut into batches, one after the other.
Duration BatchPolicy::BatchesOf(int64_t rows) const {
  const int64_t whole = rows / batch_rows();
  const int64_t rest = rows % batch_rows();
  // A sum that does not fit into Duration is beyond all limits anyway.
  const double time =
      static_cast<double>(whole) * static_cast<double>(times_.Of(batch_rows()).count()) +
      (rest > 0 ? static_cast<double>(times_.Of(rest).count()) : 0.0);
  constexpr auto kLongest = std::chrono::hours(24 * 365);
  return time < static_cast<double>(Duration(kLongest).count())
             ? Duration(static_cast<Duration::rep>(time))
             : kLongest;
}

BatchPolicy::Outlook BatchPolicy::Expect(TimePoint now, const Ask& ask) const {
  if (!times_.known()) return {};
  Duration work = Duration::zero();
  for (const Device& device : devices_) {
    if (device.busy_until > now) work += device.busy_until - now;
  }
  for (const int slot : sealed_) work += times_.Of(slots_[Index(slot)].rows);
  int64_t requests = 0;
  int64_t rows = open_ < 0 ? 0 : slots_[Index(open_)].rows;
  for (int level = LevelOf(ask.priority); level >= 0; --level) {
    requests += queues_[Index(level)].requests;
    rows += queues_[Index(level)].rows;
  }
  const Duration own = OwnTime(ask.rows);
  if (batching_.one_request_per_batch) {
    if (requests > 0) work += requests * times_.Of(rows / requests);
  } else {
    // Its rows may share a batch with those before it.
    work += std::max(Duration::zero(), BatchesOf(rows + ask.rows) - BatchesOf(ask.rows));
  }
  return {.before = work / static_cast<int64_t>(devices_.size()), .own = own};
}

// Of a request that nothing is before.
Duration BatchPolicy::OwnTime(int64_t rows) const {
  const int64_t batches = (rows + batch_rows() - 1) / batch_rows();
  return BatchesOf(rows) / std::min(batches, static_cast<int64_t>(devices_.size()));
}

// A client that waits so long finds room if nobody else takes it; at least a batch has ended then.
Duration BatchPolicy::RetryAfter(Duration wait) const {
  return std::clamp(std::max(wait, times_.Of(batch_rows())), kLeastRetry, kMostRetry);
}

absl::Status BatchPolicy::Check(TimePoint now, const Ask& ask) const {
  if (ask.rows < 1) {
    return absl::InvalidArgumentError(absl::StrCat("expected at least 1 row, got ", ask.rows));
  }
  if (batching_.one_request_per_batch && (ask.rows < 2 || ask.rows > batching_.max_rows)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the block computes statistics over the rows of a request: expected 2 to ",
                     batching_.max_rows, " rows, got ", ask.rows));
  }
  if (ask.rows > batching_.max_queued_rows) {
    return absl::InvalidArgumentError(absl::StrCat("expected at most ", batching_.max_queued_rows,
                                                   " rows (the queue's size), got ", ask.rows));
  }
  if (ask.priority < 0 ||
      (batching_.priority_levels > 0 && ask.priority > batching_.priority_levels)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a priority of 0 to ", batching_.priority_levels, ", got ", ask.priority));
  }
  if (ask.deadline <= now) {
    return absl::DeadlineExceededError("the deadline had passed when the request arrived");
  }
  return absl::OkStatus();
}

absl::Status BatchPolicy::CheckRoom(const Ask& ask, Actions& actions) const {
  const bool fits = batching_.one_request_per_batch ? free_slots_ != 0 : ask.rows <= Room();
  const int64_t waiting = fits ? 0 : batching_.one_request_per_batch ? ask.rows : ask.rows - Room();
  if (queued_rows_ + waiting > batching_.max_queued_rows) {
    if (times_.known()) {
      actions.retry_after =
          RetryAfter(BatchesOf(queued_rows_ + waiting - batching_.max_queued_rows));
    }
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", queued_rows_, " of ",
                                                     batching_.max_queued_rows, " rows wait, ",
                                                     waiting, " more do not fit"));
  }
  return absl::OkStatus();
}

absl::Status BatchPolicy::CheckTime(TimePoint now, const Ask& ask, Actions& actions) const {
  if (ADeviceIsFree()) return absl::OkStatus();
  const Outlook outlook = Expect(now, ask);
  const auto refuse = [&](Duration over, const char* limit, Duration most) {
    actions.retry_after = RetryAfter(over);
    return absl::ResourceExhaustedError(absl::StrCat(
        "the queue is too long: ", Microseconds(outlook.before), " us are before the request, and ",
        Microseconds(outlook.own), " us its own, but ", limit, " ", Microseconds(most), " us"));
  };
  if (outlook.before > batching_.max_queued_time) {
    return refuse(outlook.before - batching_.max_queued_time, "max_queued_us allows to wait",
                  batching_.max_queued_time);
  }
  const Duration timeout = TimeoutOf(ask);
  const Duration start = kReserve * outlook.before;
  if (timeout > Duration::zero() && start > timeout) {
    return refuse(start - timeout, "the queue timeout passes in", timeout);
  }
  if (ask.deadline != TimePoint::max() && start + outlook.own > ask.deadline - now) {
    return refuse(start + outlook.own - (ask.deadline - now), "the deadline is in",
                  ask.deadline - now);
  }
  return absl::OkStatus();
}

}  // namespace mlpserve
