// How far a load test is: on a terminal one line that is rewritten, elsewhere nothing.
#pragma once

#include <iosfwd>
#include <string>

namespace mlpserve::load {

// "[########........] 2 of 6: 1 row, 128 at a time, 38,992/s"
std::string ProgressLine(double done, size_t point, size_t points, const std::string& load,
                         double rate);

class ProgressBar {
 public:
  ProgressBar(std::ostream& err, bool shown) : err_(err), shown_(shown) {}
  ~ProgressBar() { Clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Show(const std::string& line);
  void Clear();

 private:
  std::ostream& err_;
  const bool shown_;
  bool there_ = false;
};

}  // namespace mlpserve::load
