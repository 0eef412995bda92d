// What was measured for one kind of product, in memory and on disk: neither a second layer of the
// kind nor a second load measures anything.
//
// A text file of lines "rows microseconds variant", written whole to a temporary file and renamed.
// Processes that write one at a time may lose each other's lines, which are then measured again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace mlpserve::cuda {

struct Measurement {
  int64_t rows = 0;
  double us = 0;  // 0: it cannot run
  std::string variant;
};

class TuningRecord {
 public:
  // Reads what is there; a missing or damaged file is an empty record. `directory` empty: the
  // record ends with this object.
  TuningRecord(const std::string& directory, const std::string& key);

  // The candidates' measurements for that many rows, the plainest candidate first.
  std::vector<Measurement> At(int64_t rows) const;
  // In place of those for the same rows. Errors: UNAVAILABLE, where the file cannot be written; the
  // object has them all the same.
  absl::Status Add(const std::vector<Measurement>& measurements);

 private:
  std::string path_;
  std::vector<Measurement> measurements_;
};

// The index of the fastest that ran; the first one, unless another is at least `least_gain` faster.
size_t PickFastest(const std::vector<Measurement>& measurements, double least_gain);

}  // namespace mlpserve::cuda
