#include "kernels/cuda/engine/tuning_record.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mlpserve::cuda {
namespace {

constexpr char kEnd[] = "end";  // the file is whole

}  // namespace

TuningRecord::TuningRecord(const std::string& directory, const std::string& key) {
  if (directory.empty()) return;
  path_ = absl::StrCat(directory, "/", key, ".tuning");
  std::ifstream file(path_);
  std::vector<Measurement> measurements;
  for (std::string line; std::getline(file, line);) {
    if (line == kEnd) {
      measurements_ = std::move(measurements);
      return;
    }
    std::istringstream fields(line);
    Measurement m;
    if (!(fields >> m.rows >> m.us >> m.variant) || !std::isfinite(m.us) || m.us < 0) return;
    measurements.push_back(std::move(m));
  }
}

std::vector<Measurement> TuningRecord::At(int64_t rows) const {
  std::vector<Measurement> found;
  for (const Measurement& m : measurements_) {
    if (m.rows == rows) found.push_back(m);
  }
  return found;
}

absl::Status TuningRecord::Add(const std::vector<Measurement>& measurements) {
  if (measurements.empty()) return absl::OkStatus();
  std::erase_if(measurements_,
                [&](const Measurement& m) { return m.rows == measurements.front().rows; });
  measurements_.insert(measurements_.end(), measurements.begin(), measurements.end());
  if (path_.empty()) return absl::OkStatus();
  const std::string temporary = absl::StrCat(path_, ".", getpid(), ".tmp");
  std::ofstream file(temporary);
  for (const Measurement& m : measurements_) {
    file << absl::StrFormat("%d %.3f %s\n", m.rows, m.us, m.variant);
  }
  file << kEnd << "\n";
  file.close();
  if (!file || std::rename(temporary.c_str(), path_.c_str()) != 0) {
    std::remove(temporary.c_str());
    return absl::UnavailableError(absl::StrCat("cannot write ", path_));
  }
  return absl::OkStatus();
}

size_t PickFastest(const std::vector<Measurement>& measurements, double least_gain) {
  size_t fastest = 0;
  for (size_t i = 0; i < measurements.size(); ++i) {
    if (measurements[i].us <= 0) continue;
    const double best = measurements[fastest].us;
    if (best <= 0 || measurements[i].us < best) fastest = i;
  }
  const double plain = measurements.empty() ? 0 : measurements.front().us;
  const bool is_worth_it = plain <= 0 || measurements[fastest].us <= (1 - least_gain) * plain;
  return is_worth_it ? fastest : 0;
}

}  // namespace mlpserve::cuda
