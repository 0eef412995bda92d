#include "server/metrics/bucket_search.h"

#include <algorithm>
#include <limits>
#include <random>

#include "gtest/gtest.h"
#include "server/metrics/metric_table.h"

namespace mlpserve {
namespace {

template <const auto& bounds>
void ExpectSameAsLowerBound(uint64_t value) {
  const auto expected = std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin();
  EXPECT_EQ(FindBucket<bounds>(value), static_cast<size_t>(expected)) << "value " << value;
}

template <const auto& bounds>
void CheckEveryEdge() {
  for (const uint64_t bound : bounds) {
    for (const uint64_t value : {bound - 1, bound, bound + 1}) {
      ExpectSameAsLowerBound<bounds>(value);
    }
  }
  for (int bit = 0; bit < 64; ++bit) {
    ExpectSameAsLowerBound<bounds>(uint64_t{1} << bit);
    ExpectSameAsLowerBound<bounds>((uint64_t{1} << bit) - 1);
  }
  ExpectSameAsLowerBound<bounds>(std::numeric_limits<uint64_t>::max());
}

TEST(FindBucket, AgreesWithLowerBoundAtEveryEdge) {
  CheckEveryEdge<kDurationBoundsNs>();
  CheckEveryEdge<kRowBounds>();
  CheckEveryEdge<kFillBoundsPpm>();
}

TEST(FindBucket, AgreesWithLowerBoundForRandomDurations) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 100'000; ++i) {
    ExpectSameAsLowerBound<kDurationBoundsNs>(random() >> (random() % 64));
  }
}

// Bounds that leave whole octaves empty, and one that holds several.
constexpr std::array<uint64_t, 6> kUneven = {3, 4, 5, 6, 7, 1'000'000};

TEST(FindBucket, AgreesWithLowerBoundForUnevenBounds) { CheckEveryEdge<kUneven>(); }

}  // namespace
}  // namespace mlpserve
