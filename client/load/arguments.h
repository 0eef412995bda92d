// The command line of mlpserve-load.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "client/load/run.h"
#include "client/load/signature.h"
#include "client/tensor/tensor_file.h"

namespace mlpserve::load {

struct Arguments {
  RunOptions run;
  // What to send.
  std::vector<InputSpec> inputs;                     // empty: the server is asked
  std::map<std::string, client::TensorPath> data;    // by input; "": the only input
  std::map<std::string, client::TensorPath> expect;  // by output; "": the only output
  double tolerance = 1e-4;
  bool shared_memory = false;  // rows and outputs lie there, and not in messages
  int64_t priority = 0;
  std::chrono::microseconds queue_timeout{0};
  // What to sweep over: rows, and either concurrency or rate; or to search.
  std::vector<int> rows = {1};
  std::vector<int> concurrency = {1};
  std::vector<double> rates;                  // not empty: an open loop
  std::chrono::nanoseconds find_rate_p99{0};  // not 0: search
  double find_rate_from = 100;
  // What to write; empty: nothing, "-": standard output.
  std::string json;
  std::string csv;
  std::string svg;
  std::string title;  // of the plot; empty: model and address
  bool allow_errors = false;
  bool quiet = false;
};

// What is left to do if the command line asked for help, or is wrong.
struct Exit {
  int code = 0;      // 0 or 2
  std::string text;  // for stdout if code is 0, else for stderr
};

std::variant<Arguments, Exit> ParseArguments(int argc, const char* const* argv);

}  // namespace mlpserve::load
