// How many pieces of one size cover a length.
#pragma once

#include <concepts>

namespace mlpserve::cuda {

// a / b rounded up, in the wider of the two types; a >= 0, b > 0.
template <std::integral A, std::integral B>
constexpr auto CeilDivide(A a, B b) {
  return (a + b - 1) / b;
}

}  // namespace mlpserve::cuda
