#include "client/load/arguments.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/address.h"
#include "client/load/values.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::load {
namespace {

constexpr int kUsage = 2;
constexpr int kMostRows = 1 << 24;
constexpr int kMostConcurrency = 65536;
constexpr double kMostRate = 1e7;
constexpr double kMostSeconds = 7.0 * 24 * 3600;
constexpr int64_t kMostDeadlineMs = 7LL * 24 * 3600 * 1000;

// What CLI11 writes to; becomes Arguments once all of it is right.
struct Raw {
  Arguments arguments;
  std::vector<std::string> inputs, data, expect, server_pids;
  std::string rows = "1", concurrency = "1", rates, arrivals = "poisson", shared_memory = "off";
  double duration_s = 5, warm_up_s = 1, find_rate_p99_ms = 0;
  int64_t deadline_ms = 0, queue_timeout_us = 0;
};

void DefineServer(CLI::App& app, Raw& raw) {
  app.add_option("model", raw.arguments.run.model, "Name of the model")->required();
  app.add_option("--address", raw.arguments.run.address, "Server: host:port or unix:path")
      ->capture_default_str();
  app.add_option("--version", raw.arguments.run.version,
                 "Version of the model (default: the server's choice)");
  auto* deadline =
      app.add_option(
             "--deadline-ms", raw.deadline_ms,
             "Milliseconds after which a request without an answer has failed, which the server "
             "is told (default 0: none; ten seconds after the end those in flight have failed)")
          ->check(CLI::Range(int64_t{0}, kMostDeadlineMs));
  app.add_flag("--streaming", raw.arguments.run.streaming,
               "Send through ModelStreamInfer, a stream for each request in flight")
      ->excludes(deadline);
  app.add_option("--shared-memory", raw.shared_memory,
                 "'system': rows and outputs lie in POSIX shared memory, which a server on this "
                 "machine must offer; 'off': in messages")
      ->check(CLI::IsMember({"off", "system"}))
      ->capture_default_str();
  app.add_option("--priority", raw.arguments.priority,
                 "Priority of the requests, 1 is highest (default: the model's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31));
  app.add_option(
         "--queue-timeout-us", raw.queue_timeout_us,
         "Microseconds that a request may wait in the server's queue (default: the model's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  app.add_option("--server-pid", raw.server_pids,
                 "Processes of the server on this machine, PID,...: their processor time for each "
                 "request is measured")
      ->delimiter(',');
}

void DefineData(CLI::App& app, Raw& raw) {
  app.add_option("--input", raw.inputs,
                 "NAME:DATATYPE:DIM,... of an input, its dimensions without the rows, such as "
                 "x:FP32:64; once for each input (default: the server is asked)");
  app.add_option("--data", raw.data,
                 "[INPUT=]FILE[:TENSOR], .safetensors, .npy or .csv: rows to send, over and over; "
                 "once for each input (default: random)");
  app.add_option("--seed", raw.arguments.run.seed, "Seed of random rows and random arrivals")
      ->capture_default_str();
  app.add_option(
      "--expect", raw.expect,
      "[OUTPUT=]FILE[:TENSOR]: the outputs of the rows of --data; an answer that differs "
      "is an error");
  app.add_option("--tolerance", raw.arguments.tolerance,
                 "Largest difference from --expect, as a part of the larger of 1 and the expected "
                 "value")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
}

void DefineLoad(CLI::App& app, Raw& raw) {
  app.add_option(
         "--rows", raw.rows,
         "Rows in a request: LIST, a sweep, is VALUE,... or FROM:TO:STEP or FROM:TO:xFACTOR")
      ->capture_default_str();
  auto* concurrency =
      app.add_option("--concurrency", raw.concurrency,
                     "Closed loop: LIST of how many requests are in flight, each followed by the "
                     "next")
          ->capture_default_str();
  auto* rate = app.add_option("--rate", raw.rates,
                              "Open loop: LIST of requests a second, sent whether or not answers "
                              "come; latency counts from when a request was meant to be sent")
                   ->excludes(concurrency);
  app.add_option("--find-rate-p99-ms", raw.find_rate_p99_ms,
                 "Search, by open loops, the highest rate with 99% of the answers within this many "
                 "milliseconds and without errors, to 5%")
      ->check(CLI::Range(1e-3, 1e7))
      ->excludes(concurrency)
      ->excludes(rate);
  app.add_option("--find-rate-from", raw.arguments.find_rate_from,
                 "Requests a second that the search begins with")
      ->check(CLI::Range(1e-3, kMostRate))
      ->capture_default_str();
  app.add_option("--arrivals", raw.arrivals, "Open loop: 'poisson' or 'constant'")
      ->check(CLI::IsMember({"poisson", "constant"}))
      ->capture_default_str();
  app.add_option("--max-in-flight", raw.arguments.run.max_in_flight,
                 "Open loop: requests in flight at most; one more waits, which its latency counts")
      ->check(CLI::Range(1, kMostConcurrency))
      ->capture_default_str();
  app.add_option("--duration-s", raw.duration_s, "Seconds that are counted, of each load")
      ->check(CLI::Range(0.01, kMostSeconds))
      ->capture_default_str();
  app.add_option("--warm-up-s", raw.warm_up_s, "Seconds of the same load before, not counted")
      ->check(CLI::Range(0.0, kMostSeconds))
      ->capture_default_str();
  app.add_option(
         "--connections", raw.arguments.run.connections,
         "Connections (default 0: one for 16 requests in flight, at most 8; an open loop 8)")
      ->check(CLI::Range(0, 1024));
  app.add_option("--threads", raw.arguments.run.threads,
                 "Threads that send (default 0: one, and one more for every four processors)")
      ->check(CLI::Range(0, 256));
}

void DefineReport(CLI::App& app, Raw& raw) {
  app.add_option("--json", raw.arguments.json,
                 "Write everything measured, histograms too, to FILE; '-': print it instead of the "
                 "table");
  app.add_option("--csv", raw.arguments.csv, "Write a line for each load to FILE; '-' as above");
  app.add_option("--svg", raw.arguments.svg,
                 "Write a plot of latency and throughput over the load to FILE; '-' as above");
  app.add_option("--title", raw.arguments.title, "Title of the plot (default: model and address)");
  app.add_flag("--allow-errors", raw.arguments.allow_errors,
               "Exit with 0 although requests failed");
  app.add_flag("--quiet", raw.arguments.quiet, "No progress bar");
}

// Splits "[NAME=]FILE[:TENSOR]"; an '=' only counts before any '/'.
absl::Status AddFile(const std::string& text, std::map<std::string, client::TensorPath>& files) {
  const size_t equals = text.substr(0, text.find('/')).find('=');
  const std::string name = equals == std::string::npos ? "" : text.substr(0, equals);
  const std::string path = equals == std::string::npos ? text : text.substr(equals + 1);
  const client::TensorPath parsed = client::TensorPath::Parse(path);
  if (!client::FormatOf(parsed.file)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a name that ends with .safetensors, .npy or .csv, found '", parsed.file, "'"));
  }
  if (!files.emplace(name, parsed).second) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected one file for '", name, "', found two"));
  }
  return absl::OkStatus();
}

absl::Status FinishFiles(const Raw& raw, Arguments& arguments) {
  for (const std::string& text : raw.inputs) {
    MLPSERVE_ASSIGN_OR_RETURN(const InputSpec input, ParseInputSpec(text));
    arguments.inputs.push_back(input);
  }
  for (const std::string& text : raw.data) {
    MLPSERVE_RETURN_IF_ERROR(AddFile(text, arguments.data));
  }
  for (const std::string& text : raw.expect) {
    MLPSERVE_RETURN_IF_ERROR(AddFile(text, arguments.expect));
  }
  if (!arguments.expect.empty() && arguments.data.empty()) {
    return absl::InvalidArgumentError("expected --data with --expect, found none");
  }
  return absl::OkStatus();
}

absl::Status FinishSweeps(const Raw& raw, Arguments& arguments) {
  MLPSERVE_ASSIGN_OR_RETURN(arguments.rows, ParseCounts(raw.rows, 1, kMostRows));
  MLPSERVE_ASSIGN_OR_RETURN(arguments.concurrency,
                            ParseCounts(raw.concurrency, 1, kMostConcurrency));
  if (!raw.rates.empty()) {
    MLPSERVE_ASSIGN_OR_RETURN(arguments.rates, ParseValues(raw.rates, 1e-3, kMostRate));
  }
  for (const std::string& pid : raw.server_pids) {
    MLPSERVE_ASSIGN_OR_RETURN(const std::vector<int> one, ParseCounts(pid, 1, 1 << 30));
    arguments.run.server_pids.push_back(one[0]);
  }
  const std::string* outputs[] = {&arguments.json, &arguments.csv, &arguments.svg};
  if (std::count_if(std::begin(outputs), std::end(outputs),
                    [](const std::string* file) { return *file == "-"; }) > 1) {
    return absl::InvalidArgumentError("expected one of --json, --csv and --svg as '-', found more");
  }
  return absl::OkStatus();
}

template <class Unit>
std::chrono::nanoseconds In(double value) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double, Unit>(value));
}

absl::StatusOr<Arguments> Finish(Raw raw) {
  Arguments arguments = raw.arguments;
  const std::string wrong = client::WhatIsWrongWithAddress(arguments.run.address);
  if (!wrong.empty()) return absl::InvalidArgumentError(absl::StrCat("--address: ", wrong));
  MLPSERVE_RETURN_IF_ERROR(FinishFiles(raw, arguments));
  MLPSERVE_RETURN_IF_ERROR(FinishSweeps(raw, arguments));
  arguments.run.duration = In<std::ratio<1>>(raw.duration_s);
  arguments.run.warm_up = In<std::ratio<1>>(raw.warm_up_s);
  arguments.find_rate_p99 = In<std::milli>(raw.find_rate_p99_ms);
  arguments.run.deadline = std::chrono::milliseconds(raw.deadline_ms);
  arguments.queue_timeout = std::chrono::microseconds(raw.queue_timeout_us);
  arguments.shared_memory = raw.shared_memory == "system";
  arguments.run.arrivals =
      raw.arrivals == "constant" ? ArrivalKind::kConstant : ArrivalKind::kPoisson;
  return arguments;
}

Exit WrongUsage(std::string_view what) {
  return Exit{kUsage, absl::StrCat("mlpserve-load: ", std::string(what),
                                   " (mlpserve-load --help says more)\n")};
}

}  // namespace

std::variant<Arguments, Exit> ParseArguments(int argc, const char* const* argv) {
  Raw raw;
  raw.arguments.run.address = "127.0.0.1:8001";
  CLI::App app(
      "Puts load on a server of the Open Inference Protocol (gRPC) and measures latency and "
      "throughput.\n"
      "Exit code: 0 done, 1 requests failed or nothing could be measured, 2 wrong usage.",
      "mlpserve-load");
  DefineServer(app, raw);
  DefineData(app, raw);
  DefineLoad(app, raw);
  DefineReport(app, raw);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit{0, app.help()};
  } catch (const CLI::Error& error) {
    return WrongUsage(error.what());
  }
  absl::StatusOr<Arguments> arguments = Finish(std::move(raw));
  if (!arguments.ok()) return WrongUsage(std::string(arguments.status().message()));
  return *std::move(arguments);
}

}  // namespace mlpserve::load
