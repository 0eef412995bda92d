// What passes from the transport through the batcher to a backend and back. No gRPC, no CUDA.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"

namespace mlpserve {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

// The instants of a request's life, carried along so that metrics need no look-up. For a request
// that was split over several batches they are those of the last: until it starts, rows wait.
struct Timing {
  TimePoint received;       // the whole message has arrived
  TimePoint batch_started;  // handed to the backend: queueing ends
  TimePoint infer_started;  // rows are where the arithmetic reads them
  TimePoint infer_ended;
  TimePoint done;  // results can be sent
};

// Keeps a block's output buffer from being reused. Move-only; may be dropped on any thread, where
// it only posts the buffer back to its pool.
class OutputLease {
 public:
  using Release = void (*)(void* lent);

  OutputLease() = default;
  OutputLease(Release release, void* lent) : release_(release), lent_(lent) {}
  OutputLease(OutputLease&& other) noexcept { Swap(other); }
  OutputLease& operator=(OutputLease&& other) noexcept {
    OutputLease(std::move(other)).Swap(*this);
    return *this;
  }
  ~OutputLease() {
    if (release_ != nullptr) release_(lent_);
  }

  // Leaves it to the caller to drop the lease: release(lent).
  struct Parts {
    Release release;
    void* lent;
  };
  Parts Take() && { return {std::exchange(release_, nullptr), lent_}; }

 private:
  void Swap(OutputLease& other) noexcept {
    std::swap(release_, other.release_);
    std::swap(lent_, other.lent_);
  }

  Release release_ = nullptr;
  void* lent_ = nullptr;
};

// Some finished rows of a request, in the wire's format, and the lease on the memory they lie in.
struct OutputRows {
  std::span<const std::byte> bytes;
  OutputLease lease;
};

// Where the rows of a request lie if not in memory of this process.
class InputSource {
 public:
  // Copies the bytes from `offset` on, of the rows one after the other. Whoever made the source
  // learns from it what went wrong; the caller goes on. Any thread, several at a time.
  virtual void Read(size_t offset, std::span<std::byte> to) = 0;

 protected:
  ~InputSource() = default;
};

// One request for one block. The transport fills it in, gives it to an InferSink, and must keep it
// (and what `input` or `source` points to) alive and unmoved until OnDone.
class InferRequest {
 public:
  int64_t rows = 0;
  // The rows' bytes, row-major, in the pieces in which they arrived: a row may straddle two pieces.
  // In total rows * the block's bytes per input row.
  std::span<const std::span<const std::byte>> input;
  InputSource* source = nullptr;              // not null: has the rows' bytes, and `input` is empty
  int priority = 0;                           // 1 is highest; 0: the block's default
  TimePoint deadline = TimePoint::max();      // of the call; over it, it is answered at once
  Duration queue_timeout = Duration::zero();  // replaces the block's; zero: the block's
  Timing timing;
  // Set by the InferSink before OnDone with RESOURCE_EXHAUSTED: when trying again is worth while;
  // 0: it does not know.
  Duration retry_after = Duration::zero();
  int32_t ticket = -1;  // the InferSink's, from Submit until OnDone; of no use to anybody else

  // Called exactly once, on any thread, also from within Submit or Cancel. `outputs` holds the
  // request's rows in order if `status` is OK, else nothing. The request may be destroyed inside.
  virtual void OnDone(absl::Status status, std::span<OutputRows> outputs) = 0;

 protected:
  ~InferRequest() = default;
};

// Takes requests for one block: the batcher, or a fake. Thread-safe.
class InferSink {
 public:
  virtual ~InferSink() = default;
  virtual void Submit(InferRequest& request) = 0;
  // The client has left: completes the request with CANCELLED, wherever its rows are. Does nothing
  // for a request that is done; the caller sees to it that the object still exists.
  virtual void Cancel(InferRequest& request) = 0;
};

}  // namespace mlpserve
