#include "server/batching/run_times.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace mlpserve {
namespace {

constexpr double kWeight = 1.0 / 8;
constexpr double kMostChange = 2;
constexpr double kEfficient = 0.9;

uint64_t Bit(size_t i) { return uint64_t{1} << i; }

// The smallest power of two that holds so many rows, as its exponent.
size_t SizeOf(int64_t rows) {
  return static_cast<size_t>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(rows, 1) - 1)));
}

// At `x` on the line through a and b.
double OnLine(double x, double x_a, double y_a, double x_b, double y_b) {
  return y_a + (y_b - y_a) * (x - x_a) / (x_b - x_a);
}

// Of `sizes`, ascending and not empty, interpolated, and beyond the last growing with the rows.
double Interpolated(const std::vector<BatchTime>& sizes, double rows) {
  const auto above = std::find_if(sizes.begin(), sizes.end(), [rows](const BatchTime& size) {
    return static_cast<double>(size.rows) >= rows;
  });
  if (above == sizes.end()) {
    return static_cast<double>(sizes.back().time.count()) * rows /
           static_cast<double>(sizes.back().rows);
  }
  const auto time = static_cast<double>(above->time.count());
  if (above == sizes.begin()) return time;
  const BatchTime& below = *(above - 1);
  return OnLine(rows, static_cast<double>(below.rows), static_cast<double>(below.time.count()),
                static_cast<double>(above->rows), time);
}

}  // namespace

RunTimes::RunTimes(std::span<const BatchTime> measured) {
  std::vector<BatchTime> sizes;
  for (const BatchTime& size : measured) {
    if (size.rows > 0 && size.time > Duration::zero()) sizes.push_back(size);
  }
  if (sizes.empty()) return;
  std::sort(sizes.begin(), sizes.end(),
            [](const BatchTime& a, const BatchTime& b) { return a.rows < b.rows; });
  for (size_t i = 0; i < kSizes; ++i) {
    times_[i] = Interpolated(sizes, static_cast<double>(Bit(i)));
    seen_ |= Bit(i);
  }
}

double RunTimes::Nanoseconds(int64_t rows) const {
  const size_t size = std::min(SizeOf(rows), kSizes - 1);
  if (size == 0) return times_[0];
  return OnLine(static_cast<double>(rows), static_cast<double>(Bit(size - 1)), times_[size - 1],
                static_cast<double>(Bit(size)), times_[size]);
}

Duration RunTimes::Of(int64_t rows) const {
  return Duration(static_cast<Duration::rep>(Nanoseconds(rows)));
}

void RunTimes::Observe(int64_t rows, Duration took) {
  const auto seen = static_cast<double>(std::max(took, Duration(1)).count());
  const size_t size = std::min(SizeOf(rows), kSizes - 1);
  if ((seen_ & Bit(size)) == 0) return Learn(size, seen);
  const double change = std::clamp(seen / Nanoseconds(rows), 1 / kMostChange, kMostChange) - 1;
  times_[size] *= 1 + kWeight * change;
  if (static_cast<uint64_t>(rows) < Bit(size)) times_[size - 1] *= 1 + kWeight * change;
}

// The first of its size. Sizes that were taken to be like others are now like this, if it is
// nearer.
void RunTimes::Learn(size_t size, double nanoseconds) {
  const bool first = seen_ == 0;
  times_[size] = nanoseconds;
  seen_ |= Bit(size);
  for (size_t i = size + 1; i < kSizes && (seen_ & Bit(i)) == 0; ++i) times_[i] = nanoseconds;
  if (first || (seen_ & (Bit(size) - 1)) == 0) {
    for (size_t i = 0; i < size; ++i) times_[i] = nanoseconds;
  }
}

int64_t RunTimes::RowsWithin(Duration limit, int64_t max_rows) const {
  const auto most = static_cast<double>(limit.count());
  if (Nanoseconds(max_rows) <= most) return max_rows;
  int64_t above = max_rows;
  for (size_t size = SizeOf(max_rows); size-- > 0;) {
    const auto rows = static_cast<int64_t>(Bit(size));
    if (times_[size] <= most) {
      return static_cast<int64_t>(OnLine(most, times_[size], static_cast<double>(rows),
                                         Nanoseconds(above), static_cast<double>(above)));
    }
    above = rows;
  }
  return 1;
}

int64_t RunTimes::EfficientRows(int64_t max_rows) const {
  const auto rate = [this](int64_t rows) { return static_cast<double>(rows) / Nanoseconds(rows); };
  double best = rate(max_rows);
  for (int64_t rows = 1; rows < max_rows; rows *= 2) best = std::max(best, rate(rows));
  int64_t rows = 1;
  while (rows < max_rows && rate(rows) < kEfficient * best) rows = std::min(2 * rows, max_rows);
  return rows;
}

}  // namespace mlpserve
