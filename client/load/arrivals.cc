#include "client/load/arrivals.h"

namespace mlpserve::load {

Arrivals::Arrivals(ArrivalKind kind, double rate, int worker, int workers, uint64_t seed)
    : kind_(kind),
      gap_seconds_(workers / rate),
      first_seconds_(worker / rate),
      random_(seed * 1'000'003 + static_cast<uint64_t>(worker)) {}

std::chrono::nanoseconds Arrivals::Next() {
  if (kind_ == ArrivalKind::kConstant) {
    // Multiplied, not added up: rounding does not drift.
    at_seconds_ = first_seconds_ + gap_seconds_ * static_cast<double>(count_);
  } else {
    at_seconds_ += gap_seconds_ * exponential_(random_);
  }
  ++count_;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(at_seconds_));
}

}  // namespace mlpserve::load
