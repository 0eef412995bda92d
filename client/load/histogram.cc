#include "client/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace mlpserve::load {

Histogram::Histogram() : counts_(kBuckets) {}

// A value's highest kBits bits after the first, and how far they were shifted, are its bucket.
size_t Histogram::IndexOf(uint64_t value) {
  const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - kBits - 1);
  return (static_cast<size_t>(shift) << kBits) + (value >> shift);
}

uint64_t Histogram::UpperOf(size_t index) {
  if (index < size_t{2} << kBits) return index;
  const size_t shift = (index >> kBits) - 1;
  const uint64_t mantissa = (index & ((size_t{1} << kBits) - 1)) | size_t{1} << kBits;
  return (mantissa << shift) + ((uint64_t{1} << shift) - 1);
}

void Histogram::Record(Duration value) {
  const auto ns = static_cast<uint64_t>(std::max<int64_t>(0, value.count()));
  ++counts_[IndexOf(ns)];
  ++count_;
  min_ = std::min(min_, ns);
  max_ = std::max(max_, ns);
  sum_ += static_cast<double>(ns);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

Histogram::Duration Histogram::mean() const {
  if (count_ == 0) return Duration(0);
  return Duration(static_cast<int64_t>(std::llround(sum_ / static_cast<double>(count_))));
}

Histogram::Duration Histogram::Percentile(double percent) const {
  if (count_ == 0) return Duration(0);
  // A hair less, so that 99.9% of 1,000 is the 999th and not, by rounding, the 1,000th.
  const double exact = std::clamp(percent, 0.0, 100.0) / 100 * static_cast<double>(count_);
  const auto rank = std::clamp<uint64_t>(static_cast<uint64_t>(std::ceil(exact - 1e-6)), 1, count_);
  uint64_t seen = 0;
  size_t index = 0;
  while ((seen += counts_[index]) < rank) ++index;
  return Duration(std::clamp(UpperOf(index), min_, max_));
}

std::vector<Histogram::Bucket> Histogram::Buckets() const {
  std::vector<Bucket> buckets;
  for (size_t i = 0; i < kBuckets; ++i) {
    if (counts_[i] > 0) buckets.push_back({Duration(UpperOf(i)), counts_[i]});
  }
  return buckets;
}

}  // namespace mlpserve::load
