#include "client/load/load_test.h"

#include <fstream>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/load/numbers.h"
#include "client/load/plot.h"
#include "client/load/progress_bar.h"
#include "client/load/rate_search.h"
#include "client/load/report.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::load {
namespace {

constexpr int kFailed = 1;
constexpr std::chrono::milliseconds kDescribeTime{10'000};
constexpr double kMostRate = 1e6;
constexpr double kSearchPrecision = 0.05;
// An open loop keeps its rate if it answers this part of it; Poisson arrivals vary by themselves.
constexpr double kKeptPart = 0.95;

// Names the tensor of a file that was given without one: it is the only tensor's.
absl::Status NameFiles(const std::vector<std::string>& names, std::string_view kind,
                       std::map<std::string, client::TensorPath>& files) {
  const auto nameless = files.find("");
  if (nameless == files.end()) return absl::OkStatus();
  if (names.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(nameless->second.file, ": expected ",
                                                   std::string(kind), "=FILE, as there are ",
                                                   names.size(), " of them"));
  }
  const client::TensorPath path = nameless->second;
  files.erase(nameless);
  if (!files.emplace(names[0], path).second) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected one file for '", names[0], "', found two"));
  }
  return absl::OkStatus();
}

// Shared memory that the server knows for as long as this lives; null: none.
class Registration {
 public:
  Registration(const std::string& address, const SharedRows* shared) : shared_(shared) {
    if (shared_ == nullptr) return;
    client_.emplace(address);
    status_ = client_->RegisterSharedMemory(shared_->key(), shared_->key(), shared_->bytes(),
                                            client::Deadline::In(kDescribeTime));
  }
  ~Registration() {
    if (shared_ == nullptr || !status_.ok()) return;
    // A server that does not answer any more has let go of it, or will when it ends.
    (void)client_->UnregisterSharedMemory(shared_->key(), client::Deadline::In(kDescribeTime));
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  const absl::Status& status() const { return status_; }

 private:
  const SharedRows* const shared_;
  std::optional<client::Client> client_;
  absl::Status status_;
};

class LoadTest {
 public:
  LoadTest(const Arguments& arguments, const Streams& streams)
      : arguments_(arguments), bar_(streams.err, streams.err_is_terminal && !arguments.quiet) {}

  absl::StatusOr<Report> Finish() {
    MLPSERVE_RETURN_IF_ERROR(Describe());
    report_.model = arguments_.run.model;
    report_.address = arguments_.run.address;
    report_.title = arguments_.title.empty() ? absl::StrCat(report_.model, " at ", report_.address)
                                             : arguments_.title;
    report_.date = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
    report_.arrivals = arguments_.run.arrivals;
    report_.streaming = arguments_.run.streaming;
    report_.shared_memory = arguments_.shared_memory;
    for (const int rows : arguments_.rows) {
      MLPSERVE_RETURN_IF_ERROR(MeasureRows(rows));
    }
    bar_.Clear();
    return std::move(report_);
  }

 private:
  // Finds out what to send: from the arguments, or else from the server's metadata.
  absl::Status Describe() {
    request_.model = arguments_.run.model;
    request_.version = arguments_.run.version;
    request_.seed = arguments_.run.seed;
    request_.priority = arguments_.priority;
    request_.queue_timeout = arguments_.queue_timeout;
    request_.files = arguments_.data;
    request_.inputs = arguments_.inputs;
    std::vector<std::string> outputs;
    if (request_.inputs.empty() || arguments_.expect.count("") > 0 || arguments_.shared_memory) {
      client::Client client(arguments_.run.address);
      MLPSERVE_ASSIGN_OR_RETURN(
          const client::BlockMetadata metadata,
          client.Describe(request_.model, request_.version, client::Deadline::In(kDescribeTime)));
      for (const client::TensorMetadata& output : metadata.outputs) outputs.push_back(output.name);
      if (request_.inputs.empty()) {
        MLPSERVE_ASSIGN_OR_RETURN(request_.inputs, InputsOf(metadata));
      }
      if (arguments_.shared_memory) {
        MLPSERVE_ASSIGN_OR_RETURN(request_.shared_outputs, OutputsOf(metadata));
      }
    }
    std::vector<std::string> inputs;
    for (const InputSpec& input : request_.inputs) inputs.push_back(input.name);
    expect_ = arguments_.expect;
    MLPSERVE_RETURN_IF_ERROR(NameFiles(inputs, "INPUT", request_.files));
    return NameFiles(outputs, "OUTPUT", expect_);
  }

  absl::Status MeasureRows(int rows) {
    MLPSERVE_ASSIGN_OR_RETURN(const RequestSet requests, RequestSet::Make(request_, rows));
    Registration registration(arguments_.run.address, requests.shared());
    MLPSERVE_RETURN_IF_ERROR(registration.status());
    std::optional<ExpectedOutputs> expected;
    if (!expect_.empty()) {
      MLPSERVE_ASSIGN_OR_RETURN(
          expected, ExpectedOutputs::Read(expect_, requests.file_rows(), arguments_.tolerance));
    }
    const ExpectedOutputs* check = expected ? &*expected : nullptr;
    if (arguments_.find_rate_p99.count() > 0) return Search(rows, requests, check);
    for (const Point& point : PointsOf(rows)) {
      if (stopped()) return absl::OkStatus();
      MLPSERVE_RETURN_IF_ERROR(Measure(point, requests, check));
    }
    return absl::OkStatus();
  }

  std::vector<Point> PointsOf(int rows) const {
    std::vector<Point> points;
    for (const double rate : arguments_.rates) points.push_back({.rows = rows, .rate = rate});
    if (!points.empty()) return points;
    for (const int concurrency : arguments_.concurrency) {
      points.push_back({.rows = rows, .concurrency = concurrency});
    }
    return points;
  }

  // How many points will be measured; 0: a search, which ends when it has found the rate.
  size_t point_count() const {
    if (arguments_.find_rate_p99.count() > 0) return 0;
    return arguments_.rows.size() *
           (arguments_.rates.empty() ? arguments_.concurrency.size() : arguments_.rates.size());
  }

  absl::Status Measure(const Point& point, const RequestSet& requests,
                       const ExpectedOutputs* expected) {
    const size_t number = report_.results.size() + 1;
    const auto show = [&](double done, double rate) {
      bar_.Show(ProgressLine(done, number, point_count(), load::Describe(point), rate));
    };
    MLPSERVE_ASSIGN_OR_RETURN(Result result, Run(arguments_.run, point, requests, expected, show));
    report_.results.push_back(std::move(result));
    return absl::OkStatus();
  }

  bool Held(const Result& result) const {
    return result.failed() == 0 && result.succeeded() > 0 &&
           result.latency.Percentile(99) <= arguments_.find_rate_p99 &&
           result.requests_per_second() >= kKeptPart * result.point.rate;
  }

  absl::Status Search(int rows, const RequestSet& requests, const ExpectedOutputs* expected) {
    RateSearch search(arguments_.find_rate_from, kMostRate, kSearchPrecision);
    while (const std::optional<double> rate = search.Next()) {
      if (stopped()) break;
      MLPSERVE_RETURN_IF_ERROR(Measure({.rows = rows, .rate = *rate}, requests, expected));
      search.Report(Held(report_.results.back()));
    }
    report_.found.push_back({rows, arguments_.find_rate_p99, search.best()});
    return absl::OkStatus();
  }

  bool stopped() const { return arguments_.run.stop->load(); }

  const Arguments& arguments_;
  ProgressBar bar_;
  RequestOptions request_;
  std::map<std::string, client::TensorPath> expect_;
  Report report_;
};

// Writes to a file, or to `out` where its name is "-".
absl::Status Write(const std::string& file, const std::string& text, std::ostream& out) {
  if (file == "-") {
    out << text;
    return absl::OkStatus();
  }
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (stream.good()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(file, ": expected a file that can be written"));
}

absl::Status WriteReports(const Arguments& arguments, const Report& report, std::ostream& out) {
  const std::pair<const std::string&, std::string (*)(const Report&)> outputs[] = {
      {arguments.json, Json}, {arguments.csv, Csv}, {arguments.svg, Svg}};
  bool table = true;
  for (const auto& [file, text] : outputs) {
    if (file.empty()) continue;
    table = table && file != "-";
    MLPSERVE_RETURN_IF_ERROR(Write(file, text(report), out));
  }
  if (table) out << Table(report);
  return absl::OkStatus();
}

// In a search some rates are meant to be too high.
absl::Status Verdict(const Arguments& arguments, const Report& report) {
  if (arguments.run.stop->load()) return absl::CancelledError("stopped before the end");
  uint64_t succeeded = 0, failed = 0;
  for (const Result& result : report.results) {
    succeeded += result.succeeded();
    failed += result.failed();
  }
  if (succeeded == 0 && failed == 0) {
    return absl::FailedPreconditionError("expected requests in the counted time, found none");
  }
  if (arguments.allow_errors) return absl::OkStatus();
  for (const FoundRate& found : report.found) {
    if (found.rate == 0) return absl::ResourceExhaustedError("no rate kept the limit");
  }
  if (failed == 0 || !report.found.empty()) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(WithCommas(static_cast<double>(failed)), " of ",
                                         WithCommas(static_cast<double>(succeeded + failed)),
                                         " requests failed"));
}

}  // namespace

int RunLoadTest(const Arguments& arguments, const Streams& streams) {
  absl::StatusOr<Report> report = LoadTest(arguments, streams).Finish();
  absl::Status status = report.status();
  if (status.ok()) status = WriteReports(arguments, *report, streams.out);
  if (status.ok()) status = Verdict(arguments, *report);
  streams.out.flush();
  if (status.ok()) return 0;
  const std::string line = absl::StrReplaceAll(status.message(), {{"\n", " "}});
  streams.err << "mlpserve-load: " << arguments.run.model << " (" << arguments.run.address
              << "): " << absl::StatusCodeToString(status.code()) << ": " << line << std::endl;
  return kFailed;
}

}  // namespace mlpserve::load
