// Finds a value's histogram bucket without a loop over all bounds.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mlpserve {

// The first i with value <= bounds[i]; bounds.size() if there is none. The bounds must ascend.
// A table by the value's highest bit starts the search: one or two comparisons where bounds double.
template <const auto& bounds>
size_t FindBucket(uint64_t value) {
  static constexpr auto kFirst = [] {
    std::array<uint8_t, 65>
        first{};  // by bit width; the first bound that such a value can be under
    for (size_t width = 0; width < first.size(); ++width) {
      const uint64_t lowest = width == 0 ? 0 : uint64_t{1} << (width - 1);
      while (first[width] < bounds.size() && bounds[first[width]] < lowest) ++first[width];
    }
    return first;
  }();
  static_assert(bounds.size() < 256);
  size_t bucket = kFirst[static_cast<size_t>(std::bit_width(value))];
  while (bucket < bounds.size() && value > bounds[bucket]) ++bucket;
  return bucket;
}

}  // namespace mlpserve
