#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/load/report.h"

namespace mlpserve::load {
namespace {

constexpr const char* kHeading =
    "rows,concurrency,rate,seconds,requests,failed,requests_per_s,rows_per_s,min_us,mean_us,p50_us,"
    "p90_us,p95_us,p99_us,p99.9_us,p99.99_us,max_us,sent_late_p99_us,server_queue_us,"
    "server_compute_us,server_rows_per_batch,server_cpu_us,client_cpu_us\n";

std::string In(std::chrono::nanoseconds time) {
  return absl::StrCat(static_cast<double>(time.count()) / 1e3);
}

std::string Line(const Result& result) {
  const bool open = result.point.open();
  std::vector<std::string> fields = {
      absl::StrCat(result.point.rows),
      open ? "" : absl::StrCat(result.point.concurrency),
      open ? absl::StrCat(result.point.rate) : "",
      absl::StrCat(result.seconds),
      absl::StrCat(result.succeeded()),
      absl::StrCat(result.failed()),
      absl::StrCat(result.requests_per_second()),
      absl::StrCat(result.rows_per_second()),
      In(result.latency.min()),
      In(result.latency.mean()),
  };
  for (const double percentile : {50.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0}) {
    fields.push_back(In(result.latency.Percentile(percentile)));
  }
  fields.push_back(open ? In(result.lateness.Percentile(99)) : "");
  fields.push_back(result.server ? absl::StrCat(result.server->queue_us) : "");
  fields.push_back(result.server ? absl::StrCat(result.server->compute_us) : "");
  fields.push_back(result.server ? absl::StrCat(result.server->batch_rows) : "");
  fields.push_back(result.server_cpu_us ? absl::StrCat(*result.server_cpu_us) : "");
  fields.push_back(absl::StrCat(result.client_cpu_us));
  return absl::StrJoin(fields, ",") + "\n";
}

}  // namespace

std::string Csv(const Report& report) {
  std::string text = kHeading;
  for (const Result& result : report.results) text += Line(result);
  return text;
}

}  // namespace mlpserve::load
