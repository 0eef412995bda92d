#include "server/config.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <map>
#include <thread>

#include "server/version.h"

namespace mlpserve {
namespace {

constexpr int64_t kMaxMessageBytes = 2147483647;  // gRPC counts a message's bytes in an int

const std::map<std::string, BackendChoice> kBackends{
    {"auto", BackendChoice::kAuto}, {"cpu", BackendChoice::kCpu}, {"cuda", BackendChoice::kCuda}};
const std::map<std::string, ModelControlMode> kModelControls{
    {"none", ModelControlMode::kNone},
    {"poll", ModelControlMode::kPoll},
    {"explicit", ModelControlMode::kExplicit}};
const std::map<std::string, LogFormat> kLogFormats{{"text", LogFormat::kText},
                                                   {"json", LogFormat::kJson}};
const std::vector<std::string> kLogLevels{"trace", "debug", "info", "warning", "error", "off"};

// One of the names of `names`, said back in full when something else came.
template <typename Value>
CLI::Option* AddChoice(CLI::App& app, const std::string& flag, Value& value,
                       const std::map<std::string, Value>& names, const std::string& help) {
  std::string expected, standard;
  for (const auto& [name, choice] : names) {
    expected += (expected.empty() ? "" : "|") + name;
    if (choice == value) standard = name;
  }
  const auto read = [&value, &names, flag, expected](const std::string& text) {
    const auto found = names.find(text);
    if (found == names.end()) {
      throw CLI::ValidationError(flag, "expected " + expected + ", found \"" + text + "\"");
    }
    value = found->second;
  };
  return app.add_option_function<std::string>(flag, read, help)
      ->type_name(expected)
      ->default_str(standard);
}

void AddAddresses(CLI::App& app, Config& config) {
  app.add_option("--grpc-address", config.grpc_addresses,
                 "Address to serve gRPC on, host:port or unix:path; may be given several times. "
                 "Other machines reach only what is named here: the default is loopback")
      ->type_name("ADDR")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  app.add_option("--http-address", config.http_address,
                 "Address of /metrics, /healthz and /readyz, host:port")
      ->type_name("ADDR")
      ->capture_default_str();
}

// A span of time of at most an hour.
void AddSeconds(CLI::App& app, const std::string& flag, std::chrono::milliseconds& value,
                double least, const std::string& help) {
  const auto set = [&value, flag](const double& seconds) {
    if (std::isnan(seconds)) {  // which CLI::Range takes: it is neither below nor above
      throw CLI::ValidationError(flag, "expected a number of seconds, found nan");
    }
    value = std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  };
  app.add_option_function<double>(flag, set, help)
      ->type_name("SECONDS")
      ->check(CLI::Range(least, 3600.0))
      ->default_str(std::to_string(value.count() / 1000));
}

void AddLimits(CLI::App& app, Config& config) {
  app.add_option("--cpu-threads", config.cpu_threads,
                 "Arithmetic threads of the CPU backend; 0: one for each core")
      ->type_name("N")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--max-message-bytes", config.max_message_bytes,
                 "Largest request accepted, in bytes; longer ones fail with RESOURCE_EXHAUSTED. "
                 "0: the larger of 64 MiB and the largest request of any block found at start")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, kMaxMessageBytes))
      ->capture_default_str();
  app.add_flag("--strict-readiness", config.strict_readiness,
               "Not ready while any block of the repository has failed to load");
  AddSeconds(app, "--drain-grace", config.drain_grace, 0.0,
             "Seconds after SIGTERM in which new requests are still served while health already "
             "says NOT_SERVING; a second SIGTERM ends it at once");
}

void AddModelControl(CLI::App& app, Config& config) {
  AddChoice(app, "--model-control", config.model_control, kModelControls,
            "Which blocks are loaded and unloaded while the server runs: none; poll: as the "
            "repository changes; explicit: as clients ask, by RepositoryModelLoad");
  app.add_option("--load-model", config.load_models,
                 "Block that --model-control=explicit loads at start, \"*\" for every one; may be "
                 "given several times. Default: none")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddSeconds(app, "--poll-interval", config.poll_interval, 0.01,
             "Seconds between two looks of --model-control=poll at the repository; a file is taken "
             "once two looks in a row have found the same");
}

void AddFlags(CLI::App& app, Config& config) {
  app.add_option("--model-repository", config.model_repository,
                 "Folder of blocks: NAME/model.json, NAME/1/weights.safetensors")
      ->type_name("DIR")
      ->required();
  AddAddresses(app, config);
  AddChoice(app, "--backend", config.backend, kBackends,
            "What computes; auto takes cuda where a usable GPU is, else cpu with a warning");
  app.add_option("--kernel-cache", config.kernel_cache,
                 "Folder of compiled GPU kernels and their measurements, created where it is "
                 "missing; without what it holds a block takes seconds longer to load. Default: "
                 "mlpserve under $XDG_CACHE_HOME or ~/.cache")
      ->type_name("DIR");
  AddLimits(app, config);
  AddModelControl(app, config);
  AddChoice(app, "--log-format", config.log_format, kLogFormats,
            "One line of text or of JSON each");
  app.add_option("--log-level", config.log_level, "Least severe level that is logged")
      ->type_name("LEVEL")
      ->check(CLI::IsMember(kLogLevels))
      ->capture_default_str();
}

std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

absl::StatusOr<ParsedFlags> ParseFlags(int argc, const char* const* argv) {
  ParsedFlags parsed;
  CLI::App app("Serves MLP blocks over the Open Inference Protocol (gRPC).", "mlpserve");
  app.set_version_flag("--version", std::string("mlpserve ") + kVersion);
  AddFlags(app, parsed.config);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    parsed.answer = app.help();
  } catch (const CLI::CallForVersion& version) {
    parsed.answer = std::string(version.what()) + "\n";
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(OneLine(error.what()) + " (see mlpserve --help)");
  }
  Config& config = parsed.config;
  if (!config.load_models.empty() && config.model_control != ModelControlMode::kExplicit) {
    return absl::InvalidArgumentError(
        "--load-model: expected --model-control=explicit beside it (see mlpserve --help)");
  }
  if (config.cpu_threads == 0) {
    config.cpu_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  return parsed;
}

}  // namespace mlpserve
