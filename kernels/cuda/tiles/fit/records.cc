#include "kernels/cuda/tiles/fit/records.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <utility>

#include "kernels/cuda/tiles/parse_config.h"

namespace mlpserve::cuda {
namespace {

constexpr double kNear = 0.35;       // log of time over the best: what is further counts less
constexpr double kFarWeight = 0.15;  // than this much

ComputeType TypeOf(const std::string& name) {
  return name == "fp16"   ? ComputeType::kFp16
         : name == "tf32" ? ComputeType::kTf32
                          : ComputeType::kBf16;
}

}  // namespace

bool Records::Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return false;
  for (std::string line; std::getline(file, line);) Add(line);
  return true;
}

std::vector<Point> Records::Points() const {
  std::vector<Point> points;
  for (const auto& [key, point] : points_) {
    if (!point.records.empty()) points.push_back(point);
  }
  for (Point& point : points) {
    point.best_us = std::ranges::min(point.records, {}, &Record::us).us;
    for (Record& r : point.records) {
      r.weight = std::log(r.us / point.best_us) < kNear ? 1 : kFarWeight;
    }
  }
  return points;
}

void Records::Add(const std::string& line) {
  std::istringstream fields(line);
  Record r;
  std::string type, variant;
  if (!(fields >> r.shape.m >> r.shape.n >> r.shape.k >> type >> variant >> r.us)) return;
  const bool held_out = type.back() == '*';
  if (held_out) type.pop_back();
  const auto config = ParseConfig(variant, TypeOf(type), StorageType(TypeOf(type)));
  if (!config.ok() || !IsWgmma(config->tile) || !(r.us > 0)) {
    ++left_out_;
    return;
  }
  r.tile = config->tile;
  r.element_bytes = static_cast<int>(ByteSize(StorageType(TypeOf(type))));
  Point& point = points_[{r.shape.m, r.shape.n, r.shape.k, type}];
  point.held_out |= held_out;
  point.records.push_back(r);
}

double LogError(const Record& r, const WgmmaRates& rates) {
  return std::log(EstimateWgmma(r.shape, r.tile, r.element_bytes, H200(), rates) / r.us);
}

// What the best of the proposals takes over the best of all, less one.
double LossOfProposals(const Point& point, const WgmmaRates& rates) {
  std::vector<std::pair<double, double>> ranked;
  for (const Record& r : point.records) {
    ranked.emplace_back(EstimateWgmma(r.shape, r.tile, r.element_bytes, H200(), rates), r.us);
  }
  std::ranges::sort(ranked);
  double best = ranked.front().second;
  for (size_t i = 0; i < std::min<size_t>(kProposals, ranked.size()); ++i) {
    best = std::min(best, ranked[i].second);
  }
  return best / point.best_us - 1;
}

}  // namespace mlpserve::cuda
