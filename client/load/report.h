// What a load test found, and the texts that say it: a table for people, JSON with everything, CSV
// with a line for each load, and a plot (plot.h).
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "client/load/run.h"

namespace mlpserve::load {

struct FoundRate {
  int64_t rows = 1;
  std::chrono::nanoseconds p99_limit{};
  double rate = 0;  // the highest that kept it; 0: none did
};

struct Report {
  std::string title;
  std::string model;
  std::string address;
  std::string date;  // of the start, UTC
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  bool streaming = false;
  bool shared_memory = false;
  std::vector<Result> results;   // in the order in which they were measured
  std::vector<FoundRate> found;  // of a search, for each number of rows
};

// Columns of which nothing is known are left out; failures follow in a line each.
std::string Table(const Report& report);
std::string Json(const Report& report);
std::string Csv(const Report& report);

}  // namespace mlpserve::load
