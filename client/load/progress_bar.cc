#include "client/load/progress_bar.h"

#include <algorithm>
#include <cmath>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/load/numbers.h"

namespace mlpserve::load {
namespace {

constexpr int kCells = 24;

}  // namespace

std::string ProgressLine(double done, size_t point, size_t points, const std::string& load,
                         double rate) {
  const auto full = static_cast<size_t>(std::lround(std::clamp(done, 0.0, 1.0) * kCells));
  const std::string which = points > 0 ? absl::StrCat(point, " of ", points) : absl::StrCat(point);
  return absl::StrCat("[", std::string(full, '#'), std::string(kCells - full, '.'), "] ", which,
                      ": ", load, ", ", WithCommas(rate), "/s");
}

void ProgressBar::Show(const std::string& line) {
  if (!shown_) return;
  err_ << "\r\033[K" << line << std::flush;
  there_ = true;
}

void ProgressBar::Clear() {
  if (there_) err_ << "\r\033[K" << std::flush;
  there_ = false;
}

}  // namespace mlpserve::load
