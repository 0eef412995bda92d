#include "kernels/cuda/tiles/fit/loss.h"

#include <cmath>

namespace mlpserve::cuda {

double Loss(const std::vector<const Record*>& records, const WgmmaRates& rates) {
  double sum = 0, weights = 0;
  for (const Record* r : records) {
    const double error = LogError(*r, rates);
    sum += r->weight * std::sqrt(error * error + 1e-4);
    weights += r->weight;
  }
  return sum / weights;
}

std::vector<const Record*> ToFit(const std::vector<Point>& points) {
  std::vector<const Record*> records;
  for (const Point& point : points) {
    if (point.held_out) continue;
    for (const Record& r : point.records) records.push_back(&r);
  }
  return records;
}

}  // namespace mlpserve::cuda
