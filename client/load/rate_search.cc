#include "client/load/rate_search.h"

#include <algorithm>
#include <cmath>

namespace mlpserve::load {

RateSearch::RateSearch(double first, double most, double precision)
    : least_(first / 1000), most_(most), precision_(precision), next_(std::min(first, most)) {}

std::optional<double> RateSearch::Next() const {
  if (over_) return std::nullopt;
  return next_;
}

// The geometric mean, since the gap is a part of the rate; a quarter of the failed rate as long as
// none has held.
double RateSearch::Middle() const {
  return best_ > 0 ? std::sqrt(best_ * lowest_failed_) : lowest_failed_ / 4;
}

void RateSearch::Report(bool held) {
  if (!held && !tried_once_) {
    tried_once_ = true;
    return;
  }
  tried_once_ = false;
  (held ? best_ : lowest_failed_) = next_;
  if (lowest_failed_ == 0) {
    over_ = best_ >= most_;
    next_ = std::min(2 * best_, most_);
    return;
  }
  next_ = Middle();
  over_ = best_ > 0 ? lowest_failed_ <= best_ * (1 + precision_) : next_ < least_;
}

}  // namespace mlpserve::load
