// Recorded runs of wgmma kernels, and how far the estimates of tiles/wgmma_cost.h are from them.
//
// A record is a line "M N K TYPE VARIANT US": rows, outputs, inputs, bf16, fp16 or tf32, the name
// of a wgmma kernel, and microseconds; a TYPE that ends in "*" is held out of the fit.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/wgmma_cost.h"

namespace mlpserve::cuda {

struct Record {
  GemmShape shape;
  Tile tile;
  int element_bytes = 2;
  double us = 0;
  double weight = 1;  // in the fit
};

// Everything measured at one shape in one format.
struct Point {
  std::vector<Record> records;
  bool held_out = false;
  double best_us = 0;
};

class Records {
 public:
  // Adds those of a file; false where it cannot be read. Lines of anything but a wgmma kernel are
  // left out.
  bool Read(const std::string& path);
  std::vector<Point> Points() const;
  int left_out() const { return left_out_; }

 private:
  void Add(const std::string& line);

  std::map<std::tuple<int64_t, int64_t, int64_t, std::string>, Point> points_;
  int left_out_ = 0;
};

double LogError(const Record& record, const WgmmaRates& rates);

// What the best of the proposals takes over the best of all, less one. ChooseConfigs proposes as
// many, beside the plainest kernel.
inline constexpr int kProposals = 5;
double LossOfProposals(const Point& point, const WgmmaRates& rates);

}  // namespace mlpserve::cuda
