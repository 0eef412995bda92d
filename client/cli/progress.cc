#include "client/cli/progress.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mlpserve::client {
namespace {

constexpr auto kQuiet = std::chrono::seconds(1);
constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kLogInterval = std::chrono::seconds(10);

}  // namespace

Progress::Progress(std::string label, int64_t total, bool terminal, TimePoint now)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 1)),
      terminal_(terminal),
      started_(now),
      next_(now + kQuiet) {}

std::string Progress::Update(int64_t done, TimePoint now) {
  if (now < next_) return {};
  next_ = now;
  next_ += terminal_ ? TimePoint::duration(kTerminalInterval) : TimePoint::duration(kLogInterval);
  shown_ = true;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - started_).count();
  return absl::StrCat(terminal_ ? "\r\033[K" : "", label_, " ", done, "/", total_, " (",
                      100 * done / total_, "%, ", seconds, " s)", terminal_ ? "" : "\n");
}

std::string Progress::Clear() { return terminal_ && shown_ ? "\r\033[K" : ""; }

}  // namespace mlpserve::client
