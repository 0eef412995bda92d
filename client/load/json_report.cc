#include <nlohmann/json.hpp>

#include "client/load/report.h"

namespace mlpserve::load {
namespace {

using Object = nlohmann::ordered_json;

constexpr double kPercentiles[] = {50, 75, 90, 95, 99, 99.9, 99.99, 100};

double In(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e3; }

Object HistogramJson(const Histogram& histogram) {
  Object json = {
      {"count", histogram.count()}, {"min", In(histogram.min())}, {"mean", In(histogram.mean())}};
  for (const double percentile : kPercentiles) {
    nlohmann::json number = percentile;  // 50.0, 99.9
    std::string name = number.dump();
    if (name.ends_with(".0")) name.resize(name.size() - 2);
    json["p" + name] = In(histogram.Percentile(percentile));
  }
  Object buckets = Object::array();
  for (const Histogram::Bucket& bucket : histogram.Buckets()) {
    buckets.push_back({In(bucket.upper), bucket.count});
  }
  json["buckets"] = std::move(buckets);
  return json;
}

Object FailuresJson(const Result& result) {
  Object json = Object::object();
  for (const auto& [code, failure] : result.failures) {
    json[absl::StatusCodeToString(code)] = {{"count", failure.count}, {"first", failure.first}};
  }
  return json;
}

Object ResultJson(const Result& result) {
  Object json = {{"rows", result.point.rows}};
  if (result.point.open()) {
    json["rate"] = result.point.rate;
  } else {
    json["concurrency"] = result.point.concurrency;
  }
  json["seconds"] = result.seconds;
  json["requests"] = result.succeeded();
  json["requests_per_s"] = result.requests_per_second();
  json["rows_per_s"] = result.rows_per_second();
  json["request_bytes"] = result.request_bytes;
  json["failed"] = result.failed();
  json["failures"] = FailuresJson(result);
  json["unsent"] = result.unsent;
  json["latency_us"] = HistogramJson(result.latency);
  if (result.point.open()) json["sent_late_us"] = HistogramJson(result.lateness);
  if (result.server) {
    json["server"] = {{"queue_us", result.server->queue_us},
                      {"compute_us", result.server->compute_us},
                      {"rows_per_batch", result.server->batch_rows}};
  }
  if (result.server_cpu_us) json["server_cpu_us"] = *result.server_cpu_us;
  json["client_cpu_us"] = result.client_cpu_us;
  return json;
}

}  // namespace

std::string Json(const Report& report) {
  Object json = {{"model", report.model},
                 {"address", report.address},
                 {"date", report.date},
                 {"arrivals", report.arrivals == ArrivalKind::kConstant ? "constant" : "poisson"},
                 {"streaming", report.streaming},
                 {"shared_memory", report.shared_memory}};
  for (const FoundRate& found : report.found) {
    json["found"].push_back(
        {{"rows", found.rows}, {"p99_limit_us", In(found.p99_limit)}, {"rate", found.rate}});
  }
  json["results"] = Object::array();
  for (const Result& result : report.results) json["results"].push_back(ResultJson(result));
  // A server's message need not be UTF-8.
  return json.dump(1, ' ', false, Object::error_handler_t::replace) + "\n";
}

}  // namespace mlpserve::load
