#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/load/numbers.h"
#include "client/load/report.h"

namespace mlpserve::load {
namespace {

// How many characters a UTF-8 text has.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

struct Column {
  const char* heading;
  std::string (*cell)(const Result&);  // empty: not known
};

template <int kPerThousand>
std::string Latency(const Result& result) {
  if (result.succeeded() == 0) return "";
  return Micros(result.latency.Percentile(kPerThousand / 10.0));
}

std::string Late(const Result& result) {
  if (result.lateness.count() == 0) return "";
  return Micros(result.lateness.Percentile(99));
}

const Column kColumns[] = {
    {"load", [](const Result& r) { return Describe(r.point); }},
    {"requests/s", [](const Result& r) { return WithCommas(r.requests_per_second()); }},
    {"rows/s",
     [](const Result& r) {
       return r.point.rows == 1 ? std::string() : WithCommas(r.rows_per_second());
     }},
    {"p50 µs", Latency<500>},
    {"p90 µs", Latency<900>},
    {"p99 µs", Latency<990>},
    {"p99.9 µs", Latency<999>},
    {"max µs", Latency<1000>},
    {"sent late p99 µs", Late},
    {"failed",
     [](const Result& r) {
       return r.failed() == 0 ? std::string() : WithCommas(static_cast<double>(r.failed()));
     }},
    {"server: queue µs",
     [](const Result& r) { return r.server ? WithCommas(r.server->queue_us) : std::string(); }},
    {"compute µs",
     [](const Result& r) { return r.server ? WithCommas(r.server->compute_us) : std::string(); }},
    {"rows/batch",
     [](const Result& r) { return r.server ? WithCommas(r.server->batch_rows) : std::string(); }},
    {"CPU µs",
     [](const Result& r) {
       return r.server_cpu_us ? WithCommas(*r.server_cpu_us) : std::string();
     }},
    {"client: CPU µs", [](const Result& r) { return WithCommas(r.client_cpu_us); }},
};

// The column's cells with its heading, all equally wide; empty where no cell says anything.
std::vector<std::string> Cells(const Column& column, const std::vector<Result>& results) {
  std::vector<std::string> cells = {column.heading};
  for (const Result& result : results) cells.push_back(column.cell(result));
  if (std::all_of(cells.begin() + 1, cells.end(), [](const auto& cell) { return cell.empty(); })) {
    return {};
  }
  size_t width = 0;
  for (std::string& cell : cells) {
    if (cell.empty()) cell = "–";
    width = std::max(width, Width(cell));
  }
  for (std::string& cell : cells) {
    const std::string padding(width - Width(cell), ' ');
    cell = &column == &kColumns[0] ? cell + padding : padding + cell;  // numbers to the right
  }
  return cells;
}

void AppendFailures(const Result& result, std::string& text) {
  const auto line = [&](uint64_t count, const std::string& what) {
    absl::StrAppend(&text, Describe(result.point), ": ", WithCommas(static_cast<double>(count)),
                    " failed, ", what, "\n");
  };
  for (const auto& [code, failure] : result.failures) {
    line(failure.count, absl::StrCat(absl::StatusCodeToString(code), ": ",
                                     absl::StrReplaceAll(failure.first, {{"\n", " "}})));
  }
  if (result.unsent > 0)
    line(result.unsent, "not sent: the requests in flight were at their bound");
}

}  // namespace

std::string Table(const Report& report) {
  std::vector<std::string> lines(report.results.size() + 1);
  for (const Column& column : kColumns) {
    const std::vector<std::string> cells = Cells(column, report.results);
    for (size_t i = 0; i < cells.size(); ++i) {
      absl::StrAppend(&lines[i], lines[i].empty() ? "" : "  ", cells[i]);
    }
  }
  std::string text;
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  for (const Result& result : report.results) AppendFailures(result, text);
  for (const FoundRate& found : report.found) {
    absl::StrAppend(&text, "highest rate with p99 within ", WithUnit(found.p99_limit), ", ",
                    found.rows, found.rows == 1 ? " row" : " rows",
                    " a request: ", found.rate > 0 ? WithCommas(found.rate) + "/s" : "none", "\n");
  }
  return text;
}

}  // namespace mlpserve::load
