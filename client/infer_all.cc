#include "client/infer_all.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace mlpserve::client {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(200);

// Sends the requests of one InferAll and gathers their results.
class Run {
 public:
  Run(const RemoteBlock& block, std::span<const float> rows, const InferAllOptions& options)
      : block_(block),
        rows_(rows),
        options_(options),
        row_count_(static_cast<int64_t>(rows.size()) / block.input_features()),
        results_(static_cast<size_t>(row_count_ * block.output_features())) {}

  absl::StatusOr<std::vector<float>> Finish() {
    const int64_t step =
        options_.rows_per_request > 0 ? options_.rows_per_request : block_.max_rows();
    for (int64_t first = 0; first < row_count_; first += step) {
      AwaitInFlight(options_.in_flight - 1);
      if (failed()) break;
      Send(first, std::min(step, row_count_ - first));
    }
    AwaitInFlight(0);
    absl::MutexLock lock(&mutex_);
    if (!status_.ok()) return status_;
    return std::move(results_);
  }

 private:
  void Send(int64_t first, int64_t count) {
    {
      absl::MutexLock lock(&mutex_);
      ++in_flight_;
    }
    const auto features = static_cast<size_t>(block_.input_features());
    block_.InferAsync(
        rows_.subspan(static_cast<size_t>(first) * features, static_cast<size_t>(count) * features),
        Deadline::In(options_.deadline),
        [this, first, count](absl::StatusOr<std::vector<float>> result) {
          Receive(first, count, std::move(result));
        });
  }

  void Receive(int64_t first, int64_t count, absl::StatusOr<std::vector<float>> result) {
    if (result.ok()) {  // every request has a range of its own
      std::copy(result->begin(), result->end(),
                results_.begin() + first * block_.output_features());
    }
    absl::MutexLock lock(&mutex_);
    --in_flight_;
    done_ += result.ok() ? count : 0;
    if (!result.ok() && status_.ok()) {
      status_ = absl::Status(
          result.status().code(),
          absl::StrCat("rows ", first, " to ", first + count - 1, ": ", result.status().message()));
    }
  }

  // Returns when at most this many requests are in flight, and tells the caller meanwhile how far
  // it is.
  void AwaitInFlight(int most) {
    const auto enough = [this, most] {
      mutex_.AssertHeld();
      return in_flight_ <= most;
    };
    for (bool reached = false; !reached;) {
      int64_t done = 0;
      {
        absl::MutexLock lock(&mutex_);
        reached = mutex_.AwaitWithTimeout(absl::Condition(&enough), kProgressInterval);
        done = done_;
      }
      if (options_.on_progress) options_.on_progress(done);
    }
  }

  bool failed() {
    absl::MutexLock lock(&mutex_);
    return !status_.ok();
  }

  const RemoteBlock& block_;
  const std::span<const float> rows_;
  const InferAllOptions& options_;
  const int64_t row_count_;
  std::vector<float> results_;

  absl::Mutex mutex_;
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first error
};

}  // namespace

absl::StatusOr<std::vector<float>> InferAll(const RemoteBlock& block, std::span<const float> rows,
                                            const InferAllOptions& options) {
  const auto features = static_cast<size_t>(block.input_features());
  if (rows.empty() || rows.size() % features != 0) {
    return absl::InvalidArgumentError(absl::StrCat("block '", block.name(),
                                                   "': expected whole rows of ", features,
                                                   " values, found ", rows.size(), " values"));
  }
  if (options.in_flight < 1 || options.rows_per_request < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected in_flight of 1 or more and rows_per_request of 0 or more, found ",
                     options.in_flight, " and ", options.rows_per_request));
  }
  return Run(block, rows, options).Finish();
}

}  // namespace mlpserve::client
