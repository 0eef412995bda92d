// The progress line of something that may take long: nothing in the first second; then, on a
// terminal, one line that is rewritten, and elsewhere one line every ten seconds. Time is an
// argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mlpserve::client {

class Progress {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // "LABEL 300/450 (66%, 2 s)"
  Progress(std::string label, int64_t total, bool terminal, TimePoint now);

  // What to print now, often nothing.
  std::string Update(int64_t done, TimePoint now);
  // What takes the line away again.
  std::string Clear();

 private:
  const std::string label_;
  const int64_t total_;
  const bool terminal_;
  const TimePoint started_;
  TimePoint next_;
  bool shown_ = false;
};

}  // namespace mlpserve::client
