// Looks for the highest rate that holds a condition: doubles it until it does not hold, then halves
// the gap. A rate that failed is tried once more, so that one hiccup of the machine does not
// decide.
//
// Pure: the caller measures. Assumes that what holds at a rate holds below it.
#pragma once

#include <optional>

namespace mlpserve::load {

class RateSearch {
 public:
  // Begins at `first`; never above `most`. Ends when the gap is at most `precision`, a part of the
  // rate (0.05: 5%), or where not even a thousandth of `first` held.
  RateSearch(double first, double most, double precision);

  // The rate to try next; none: the search is over.
  std::optional<double> Next() const;
  // What came of trying Next().
  void Report(bool held);

  double best() const { return best_; }  // the highest that held; 0: none did

 private:
  double Middle() const;

  const double least_;
  const double most_;
  const double precision_;
  double next_;
  double best_ = 0;
  double lowest_failed_ = 0;  // 0: none yet
  bool tried_once_ = false;
  bool over_ = false;
};

}  // namespace mlpserve::load
