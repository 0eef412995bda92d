// A report as a picture: latency percentiles and throughput over the load; of a single load, how
// its latencies are distributed.
#pragma once

#include <string>

#include "client/load/report.h"

namespace mlpserve::load {

std::string Svg(const Report& report);

}  // namespace mlpserve::load
