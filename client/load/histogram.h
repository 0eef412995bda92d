// Counts durations in buckets whose width grows with the value, as HdrHistogram does: a percentile
// is off by at most 1/512 of itself, at any magnitude, and recording is two shifts and an addition.
//
// Not thread-safe: each thread records into one of its own, and they are merged afterwards.
// Bound: 220 KiB, whatever is recorded. Counts, sum, least and greatest are exact.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlpserve::load {

class Histogram {
 public:
  using Duration = std::chrono::nanoseconds;

  struct Bucket {
    Duration upper;  // the largest value that the bucket holds
    uint64_t count;
  };

  Histogram();

  void Record(Duration value);  // a negative one counts as zero
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  Duration min() const { return Duration(count_ == 0 ? 0 : min_); }
  Duration max() const { return Duration(max_); }
  Duration mean() const;
  // The least value that at least `percent` of all are not above; 0 where nothing was recorded.
  Duration Percentile(double percent) const;
  std::vector<Bucket> Buckets() const;  // those that hold something, ascending

 private:
  static constexpr int kBits = 9;  // values below 2^kBits have a bucket each
  static constexpr size_t kBuckets = size_t{64 - kBits} << kBits;

  static size_t IndexOf(uint64_t value);
  static uint64_t UpperOf(size_t index);

  std::vector<uint64_t> counts_;  // [kBuckets]
  uint64_t count_ = 0;
  uint64_t min_ = UINT64_MAX;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace mlpserve::load
