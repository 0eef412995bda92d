// The command line of mlpserve-client.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>

#include "client/tensor/tensor_file.h"

namespace mlpserve::client {

struct StatusCommand {};
struct ListCommand {};

struct InferCommand {
  std::string model;
  std::string version;  // empty: the server's choice
  TensorPath input;
  std::string output;            // empty: not written
  TensorPath labels;             // file empty: not compared
  int64_t rows_per_request = 0;  // 0: the block's max_rows
  int concurrency = 4;
};

struct Arguments {
  std::string address = "127.0.0.1:8001";
  std::chrono::milliseconds deadline{30'000};  // of each call
  std::variant<StatusCommand, ListCommand, InferCommand> command;
};

// What is left to do if the command line asked for help, or is wrong.
struct Exit {
  int code = 0;      // 0 or 2
  std::string text;  // for stdout if code is 0, else for stderr
};

std::variant<Arguments, Exit> ParseArguments(int argc, const char* const* argv);

}  // namespace mlpserve::client
