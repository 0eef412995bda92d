// How long a batch takes, by its rows: what the backend measured at load, corrected by each batch
// that has run since.
//
// Times are kept for powers of two and interpolated between them. One that nothing is known of yet
// is taken to be that of the nearest size below, or above, that has been seen. A batch moves its
// estimate by an eighth of the difference, taken as at most twice and at least half of it: an
// estimate follows a machine that others load within some ten batches, rises faster than it falls,
// and one batch that was held up moves it by an eighth at most.
//
// Not thread-safe. Pure: knows no clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "server/vocabulary/batch_time.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class RunTimes {
 public:
  // Sizes in any order; those without rows or time are passed over. Beyond the largest, time grows
  // with the rows. None: everything is learned from what runs.
  explicit RunTimes(std::span<const BatchTime> measured);

  // False: nothing has been measured or seen, and every time is zero.
  bool known() const { return seen_ != 0; }
  // Of a batch of `rows` rows, 1 .. 2^40.
  Duration Of(int64_t rows) const;
  void Observe(int64_t rows, Duration took);

  // The most rows, 1 .. max_rows, that run within `limit`; 1 if even one takes longer.
  int64_t RowsWithin(Duration limit, int64_t max_rows) const;
  // The fewest rows, up to max_rows, that are computed at a tenth less than the best rate, or
  // faster.
  int64_t EfficientRows(int64_t max_rows) const;

 private:
  static constexpr size_t kSizes = 41;  // 2^0 .. 2^40 rows

  double Nanoseconds(int64_t rows) const;
  void Learn(size_t size, double nanoseconds);

  std::array<double, kSizes> times_{};  // ns of a batch of 2^i rows
  uint64_t seen_ = 0;                   // bit i: times_[i] was measured or observed
};

}  // namespace mlpserve
