#include "client/cli/arguments.h"

#include <CLI/CLI.hpp>

#include "client/address.h"
#include "server/version.h"

namespace mlpserve::client {
namespace {

constexpr int kUsage = 2;
constexpr int kMaxConcurrency = 1024;
constexpr int64_t kMaxDeadlineMs = 7LL * 24 * 3600 * 1000;

// What CLI11 writes to; becomes Arguments once all of it is right.
struct Raw {
  Arguments arguments;
  InferCommand infer;
  int64_t deadline_ms = 30'000;
  std::string tensor;
  std::string labels;
};

std::string CheckEnding(const std::string& text) {
  const std::string file = TensorPath::Parse(text).file;
  if (FormatOf(file)) return {};
  return "expected a name that ends with .safetensors, .npy or .csv, found '" + file + "'";
}

void Define(CLI::App& app, Raw& raw) {
  app.set_version_flag("--version", std::string("mlpserve-client ") + kVersion);
  app.description(
      "Asks a server of the Open Inference Protocol (gRPC), and sends it rows.\n"
      "Exit code: 0 done, 1 a call or a file failed or the server is not ready, 2 wrong usage.");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--address", raw.arguments.address, "Server: host:port or unix:path")
      ->check(client::WhatIsWrongWithAddress)
      ->capture_default_str();
  app.add_option("--deadline-ms", raw.deadline_ms,
                 "Milliseconds after which a call that has no answer fails; of each request")
      ->check(CLI::Range(int64_t{1}, kMaxDeadlineMs))
      ->capture_default_str();
  app.add_subcommand("status", "Is the server live and ready, what it is, and its blocks");
  app.add_subcommand("list", "Every block and version of the repository, ready or not");

  CLI::App& infer = *app.add_subcommand("infer", "Run rows from a file through a block");
  infer.add_option("model", raw.infer.model, "Name of the block")->required();
  infer.add_option("--version", raw.infer.version, "Its version (default: the server's choice)");
  infer
      .add_option("--input", raw.infer.input.file,
                  "Rows, [rows, features] or [features]: FILE.safetensors, .npy or .csv")
      ->required()
      ->check(CheckEnding);
  infer.add_option(
      "--tensor", raw.tensor,
      "Tensor of a safetensors input (default: the only one, or the one that is called "
      "as the block's input)");
  infer
      .add_option("--output", raw.infer.output,
                  "Write the results to FILE.safetensors, .npy or .csv")
      ->check(CheckEnding);
  infer
      .add_option("--labels", raw.labels,
                  "FILE[:TENSOR] of classes [rows] or scores [rows, classes]: print the accuracy "
                  "(tensor's default: the only one, or 'label')")
      ->check(CheckEnding);
  infer
      .add_option("--rows-per-request", raw.infer.rows_per_request,
                  "Rows in a request; batch statistics are taken over each (default: the block's "
                  "max_rows)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  infer.add_option("--concurrency", raw.infer.concurrency, "Requests in flight at once")
      ->check(CLI::Range(1, kMaxConcurrency))
      ->capture_default_str();
}

Arguments Finish(const CLI::App& app, Raw raw) {
  raw.arguments.deadline = std::chrono::milliseconds(raw.deadline_ms);
  if (app.got_subcommand("status")) raw.arguments.command = StatusCommand{};
  if (app.got_subcommand("list")) raw.arguments.command = ListCommand{};
  if (app.got_subcommand("infer")) {
    raw.infer.input = TensorPath::Parse(raw.infer.input.file);
    if (!raw.tensor.empty()) raw.infer.input.tensor = raw.tensor;
    raw.infer.labels = TensorPath::Parse(raw.labels);
    raw.arguments.command = std::move(raw.infer);
  }
  return std::move(raw.arguments);
}

}  // namespace

std::variant<Arguments, Exit> ParseArguments(int argc, const char* const* argv) {
  Raw raw;
  CLI::App app("", "mlpserve-client");
  Define(app, raw);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit{0, app.help()};
  } catch (const CLI::CallForVersion& version) {
    return Exit{0, std::string(version.what()) + "\n"};
  } catch (const CLI::Error& error) {
    return Exit{kUsage, std::string("mlpserve-client: ") + error.what() +
                            " (mlpserve-client --help says more)\n"};
  }
  return Finish(app, std::move(raw));
}

}  // namespace mlpserve::client
