#include "client/load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "client/load/numbers.h"
#include "client/load/plot.h"
#include "client/load/progress_bar.h"

namespace mlpserve::load {
namespace {

using std::chrono::microseconds;
using ::testing::HasSubstr;
using ::testing::Not;

Result Measured(Point point, int requests) {
  Result result;
  result.point = point;
  result.seconds = 2;
  for (int i = 1; i <= requests; ++i) result.latency.Record(microseconds(i));
  return result;
}

Report Sweep() {
  Report report{.title = "<b> & co", .model = "digits", .address = "here:1", .date = "2026-11-30"};
  report.results = {Measured({.rows = 1, .concurrency = 1}, 1000),
                    Measured({.rows = 1, .concurrency = 32}, 100'000)};
  return report;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

TEST(ReportTest, TheTableShowsOnlyWhatIsKnown) {
  Report report = Sweep();
  const std::string table = Table(report);
  EXPECT_THAT(table, HasSubstr("1 row, 1 at a time          500"));
  EXPECT_THAT(table, HasSubstr("1 row, 32 at a time      50,000"));
  for (const char* unknown : {"failed", "server", "rows/s", "sent late"}) {
    EXPECT_THAT(table, Not(HasSubstr(unknown)));
  }
  report.results[1].server = ServerSplit{120, 35.5, 21.3};
  report.results[1].failures[absl::StatusCode::kUnavailable] = {7, "not\nready"};
  report.results[1].unsent = 2;
  EXPECT_THAT(Table(report),
              AllOf(HasSubstr("server: queue µs"), HasSubstr("35.5"),
                    HasSubstr("1 row, 32 at a time: 7 failed, UNAVAILABLE: not ready\n"),
                    HasSubstr("2 failed, not sent")));
}

TEST(ReportTest, ATableLineIsAsWideAsItsHeading) {
  Report report = Sweep();
  report.results[0].server = ServerSplit{1, 2, 3};
  std::istringstream lines(Table(report));
  std::vector<size_t> widths;
  for (std::string line; std::getline(lines, line);) {
    widths.push_back(
        std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }
  EXPECT_THAT(widths, ::testing::Each(widths[0]));
}

TEST(ReportTest, JsonHoldsEverything) {
  Report report = Sweep();
  report.results.push_back(Measured({.rows = 16, .rate = 2500}, 10));
  report.results[2].failures[absl::StatusCode::kInternal] = {1, "not UTF-8: \xff"};
  report.found.push_back({16, microseconds(5000), 2500});
  const auto json = nlohmann::json::parse(Json(report));
  EXPECT_EQ(json["model"], "digits");
  EXPECT_EQ(json["results"][1]["concurrency"], 32);
  EXPECT_EQ(json["results"][1]["requests_per_s"], 50'000);
  EXPECT_EQ(json["results"][0]["latency_us"]["p99"], 990.207);  // its bucket's upper end
  EXPECT_EQ(json["results"][0]["latency_us"]["p100"], 1000);
  EXPECT_EQ(json["results"][2]["rate"], 2500);
  EXPECT_EQ(json["results"][2]["failures"]["INTERNAL"]["count"], 1);
  EXPECT_EQ(json["found"][0]["rate"], 2500);
  uint64_t sum = 0;
  for (const auto& bucket : json["results"][1]["latency_us"]["buckets"]) {
    sum += bucket[1].get<uint64_t>();
  }
  EXPECT_EQ(sum, 100'000U);
}

TEST(ReportTest, CsvHasAFieldForEachHeading) {
  Report report = Sweep();
  report.results.push_back(Measured({.rows = 16, .rate = 2500}, 10));
  report.results[2].server = ServerSplit{1, 2, 3};
  std::istringstream lines(Csv(report));
  std::string heading, line;
  std::getline(lines, heading);
  int count = 0;
  for (; std::getline(lines, line); ++count) EXPECT_EQ(Count(line, ","), Count(heading, ","));
  EXPECT_EQ(count, 3);
}

TEST(PlotTest, TwoPanelsForEachNumberOfRows) {
  Report report = Sweep();
  EXPECT_EQ(Count(Svg(report), "class=\"panel\""), 2U);
  report.results.push_back(Measured({.rows = 16, .concurrency = 1}, 10));
  EXPECT_EQ(Count(Svg(report), "class=\"panel\""), 4U);
  EXPECT_EQ(Count(Svg(report), "class=\"line strong\""), 4U);
}

TEST(PlotTest, RowsAreTheLoadWhereNothingElseIsSwept) {
  Report report = Sweep();
  report.results = {Measured({.rows = 1}, 10), Measured({.rows = 64}, 10)};
  EXPECT_THAT(Svg(report), AllOf(HasSubstr("rows a request"), HasSubstr("rows/s")));
}

TEST(PlotTest, NothingAnsweredStillDraws) {
  Report report = Sweep();
  for (Result& result : report.results) result = Measured(result.point, 0);
  EXPECT_THAT(Svg(report), Not(HasSubstr("nan")));
  report.results.resize(1);
  EXPECT_THAT(Svg(report), Not(HasSubstr("nan")));
  report.results.clear();
  EXPECT_THAT(Svg(report), HasSubstr("</svg>"));
}

TEST(PlotTest, MarkupStaysText) {
  EXPECT_THAT(Svg(Sweep()), AllOf(HasSubstr("&lt;b&gt; &amp; co"), Not(HasSubstr("<b>"))));
}

TEST(NumbersTest, AsPeopleReadThem) {
  EXPECT_EQ(WithCommas(0), "0");
  EXPECT_EQ(WithCommas(0.256), "0.26");
  EXPECT_EQ(WithCommas(12.5), "12.5");
  EXPECT_EQ(WithCommas(99.96), "100");
  EXPECT_EQ(WithCommas(999.7), "1,000");
  EXPECT_EQ(WithCommas(1234567), "1,234,567");
  EXPECT_EQ(WithCommas(-1234), "-1,234");
  EXPECT_EQ(WithUnit(microseconds(85)), "85 µs");
  EXPECT_EQ(WithUnit(microseconds(1200)), "1.2 ms");
  EXPECT_EQ(WithUnit(std::chrono::seconds(3)), "3 s");
}

TEST(ProgressBarTest, ALineOnATerminalOnly) {
  EXPECT_EQ(ProgressLine(0.5, 2, 6, "1 row, 8 at a time", 38'992),
            "[############............] 2 of 6: 1 row, 8 at a time, 38,992/s");
  EXPECT_EQ(ProgressLine(7, 3, 0, "x", 0).substr(0, 31), "[########################] 3: x");
  std::ostringstream shown, hidden;
  {
    ProgressBar bar(shown, true), none(hidden, false);
    bar.Show("line");
    none.Show("line");
  }
  EXPECT_EQ(shown.str(), "\r\033[Kline\r\033[K");
  EXPECT_EQ(hidden.str(), "");
}

}  // namespace
}  // namespace mlpserve::load
