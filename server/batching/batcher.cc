#include "server/batching/batcher.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/batching/row_copy.h"
#include "server/batching/turn.h"

namespace mlpserve {
namespace {

absl::Status CheckBuffers(const char* what, const std::vector<std::span<std::byte>>& buffers,
                          int64_t expected) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (static_cast<int64_t>(buffers[i].size()) >= expected) continue;
    return absl::InvalidArgumentError(absl::StrCat("batching: ", what, " ", i,
                                                   " must hold max_rows rows, ", expected,
                                                   " bytes, but holds ", buffers[i].size()));
  }
  return absl::OkStatus();
}

absl::Status CheckReadyRows(const BatchingOptions& options, int64_t ready_rows) {
  const int64_t least = options.one_request_per_batch ? options.max_rows : 1;
  if (ready_rows >= least && ready_rows <= options.max_rows) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("batching: expected buffers that hold ", least,
                                                 " to ", options.max_rows, " rows, found ",
                                                 ready_rows));
}

BatchPolicy::Options PolicyOptions(const BatchingOptions& options, const BatchBuffers& buffers,
                                   int64_t ready_rows) {
  BatchingOptions batching = options;
  batching.max_queued_rows =
      std::min(options.max_queued_rows, options.max_queued_bytes / buffers.input_row_bytes);
  return {.slots = static_cast<int>(buffers.slots.size()),
          .lanes = buffers.lanes,
          .lanes_per_device = buffers.lanes_per_device,
          .outputs = static_cast<int>(buffers.outputs.size()),
          .slot_rows = ready_rows,
          .batch_times = buffers.batch_times,
          .batching = std::move(batching)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Batcher>> Batcher::Create(const BatchingOptions& options,
                                                         BatchBuffers buffers, BatchRunner& runner,
                                                         BatchThreads& threads,
                                                         BatchObserver* observer) {
  if (buffers.input_row_bytes < 1 || buffers.output_row_bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("batching: bytes per row must be at least 1, got ", buffers.input_row_bytes,
                     " of input and ", buffers.output_row_bytes, " of output"));
  }
  if (options.max_queued_bytes < buffers.input_row_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("batching: max_queued_bytes must hold a row, ",
                                                   buffers.input_row_bytes, " bytes, got ",
                                                   options.max_queued_bytes));
  }
  if (options.help_limit < Duration::zero() || options.max_copied_bytes < 0) {
    return absl::InvalidArgumentError(
        "batching: help_limit and max_copied_bytes must not be negative");
  }
  const BatchPolicy::Options policy = PolicyOptions(options, buffers, runner.ready_rows());
  for (const absl::Status& status :
       {CheckReadyRows(options, policy.slot_rows), BatchPolicy::Validate(policy),
        CheckBuffers("slot", buffers.slots, options.max_rows * buffers.input_row_bytes),
        CheckBuffers("output", buffers.outputs, options.max_rows * buffers.output_row_bytes)}) {
    if (!status.ok()) return status;
  }
  return std::unique_ptr<Batcher>(
      new Batcher(options, policy, std::move(buffers), runner, threads, observer));
}

Batcher::Batcher(const BatchingOptions& options, const BatchPolicy::Options& policy,
                 BatchBuffers buffers, BatchRunner& runner, BatchThreads& threads,
                 BatchObserver* observer)
    : options_(options),
      buffers_(std::move(buffers)),
      runner_(runner),
      threads_(threads),
      observer_(observer),
      lanes_(Index(policy.lanes)),
      policy_(policy),
      lent_(std::make_unique<LentOutput[]>(buffers_.outputs.size())) {
  for (size_t i = 0; i < buffers_.outputs.size(); ++i) {
    lent_[i].batcher = this;
    lent_[i].output = static_cast<int>(i);
  }
}

Batcher::~Batcher() {
  Drain();
  // A lease that is dropped wakes nobody, and must not touch anything after it has said so.
  for (;;) {
    {
      MutexLock lock(mutex_);
      CollectReleased();
      if (policy_.lent_outputs() == 0 && copied_bytes_.load(std::memory_order_acquire) == 0) {
        break;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  threads_.Leave(*this);
}

void Batcher::Submit(InferRequest& request) {
  if (absl::Status status = CheckInput(request); !status.ok()) {
    request.OnDone(std::move(status), {});
    return;
  }
  const BatchPolicy::Ask ask = {.rows = request.rows,
                                .priority = request.priority,
                                .deadline = request.deadline,
                                .queue_timeout = request.queue_timeout};
  Turn turn;
  {
    MutexLock lock(mutex_);
    Enter(turn);
    const int64_t copied = copied_bytes_.load(std::memory_order_relaxed);
    const absl::StatusOr<BatchPolicy::Ticket> ticket =
        copied <= options_.max_copied_bytes
            ? policy_.Submit(turn.entered, ask, turn.actions)
            : absl::ResourceExhaustedError(
                  absl::StrCat("results of ", copied, " bytes wait to be read, over the limit of ",
                               options_.max_copied_bytes));
    Resolve(turn);  // before the ticket, which may be one that just completed
    if (ticket.ok()) {
      if (pending_.size() <= Index(*ticket)) pending_.resize(Index(*ticket) + 1);
      pending_[Index(*ticket)].request = &request;
      request.ticket = *ticket;
      WakeEarlierIfNeeded();
    } else {
      Delivery refused;
      refused.request = &request;
      request.retry_after = std::exchange(turn.actions.retry_after, Duration::zero());
      refused.status = ticket.status();
      if (absl::IsDeadlineExceeded(refused.status)) refused.eviction = Eviction::kDeadline;
      turn.deliveries.push_back(std::move(refused));
    }
    FindSources(turn);
  }
  Work(turn);
}

void Batcher::Cancel(InferRequest& request) {
  Turn turn;
  {
    MutexLock lock(mutex_);
    const auto ticket = static_cast<size_t>(request.ticket);
    if (request.ticket < 0 || ticket >= pending_.size()) return;
    if (pending_[ticket].request != &request) return;  // it is done
    Enter(turn);
    policy_.Cancel(turn.entered, request.ticket, turn.actions);
    Resolve(turn);
    FindSources(turn);
  }
  Work(turn);
}

void Batcher::Drain() {
  MutexLock lock(mutex_);
  ++drain_waiters_;
  while (!inside_.empty() || !policy_.Idle()) drained_.Wait(mutex_);
  --drain_waiters_;
}

QueueState Batcher::stats() const {
  MutexLock lock(mutex_);
  return {.queued_requests = policy_.queued_requests(),
          .pending_requests = policy_.pending_requests(),
          .queued_rows = policy_.queued_rows(),
          .queued_rows_limit = policy_.options().batching.max_queued_rows,
          .slots_in_use = policy_.slots_in_use(),
          .slots = policy_.options().slots,
          .copied_bytes = copied_bytes_.load(std::memory_order_relaxed)};
}

absl::Status Batcher::CheckInput(const InferRequest& request) const {
  if (request.source != nullptr) return absl::OkStatus();
  const size_t bytes = TotalBytes(request.input);
  const auto row_bytes = static_cast<size_t>(buffers_.input_row_bytes);
  if (request.rows >= 0 && bytes % row_bytes == 0 &&
      bytes / row_bytes == static_cast<size_t>(request.rows)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("expected ", request.rows, " rows of ", row_bytes,
                                                 " bytes, got ", bytes, " bytes"));
}

void Batcher::OnWake() {
  Turn turn;
  turn.role = Role::kWaker;
  {
    MutexLock lock(mutex_);
    wake_at_ = TimePoint::max();
    Enter(turn);
  }
  Work(turn);
}

void Batcher::OnRunner() {
  Turn turn;
  turn.role = Role::kRunner;
  {
    MutexLock lock(mutex_);
    handed_over_ = false;
    Enter(turn);
  }
  Work(turn);
}

}  // namespace mlpserve
