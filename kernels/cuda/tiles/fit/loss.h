// What tile_fit makes small, and what it may change for that.
#pragma once

#include <vector>

#include "kernels/cuda/tiles/fit/records.h"
#include "kernels/cuda/tiles/wgmma_cost.h"

namespace mlpserve::cuda {

// Each parameter of the fit, by name. All are positive.
struct RateParameter {
  const char* name;
  double WgmmaRates::*value;
};
inline constexpr RateParameter kRateParameters[] = {
    {"product", &WgmmaRates::product},
    {"delivery", &WgmmaRates::delivery},
    {"l2", &WgmmaRates::l2},
    {"memory", &WgmmaRates::memory},
    {"in_flight", &WgmmaRates::in_flight},
    {"start", &WgmmaRates::start},
    {"end", &WgmmaRates::end},
    {"end_area", &WgmmaRates::end_area},
    {"end_rows", &WgmmaRates::end_rows},
    {"end_rows_area", &WgmmaRates::end_rows_area},
    {"exchange", &WgmmaRates::exchange},
    {"exchange_area", &WgmmaRates::exchange_area},
    {"hidden", &WgmmaRates::hidden},
    {"together", &WgmmaRates::together},
};

// Mean of the errors' size, and a little of their squares: few records far off weigh little.
double Loss(const std::vector<const Record*>& records, const WgmmaRates& rates);

// The records of points that are not held out.
std::vector<const Record*> ToFit(const std::vector<Point>& points);

}  // namespace mlpserve::cuda
