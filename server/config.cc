#include "server/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <map>

#include "server/machine/limits.h"
#include "server/version.h"

namespace mlpserve {
namespace {

constexpr int64_t kMostConnections = 1'000'000;
constexpr int64_t kMostHttpConnections = 1'000;
constexpr int64_t kMaxMessageBytes = 2147483647;  // gRPC counts a message's bytes in an int

const std::map<std::string, BackendChoice> kBackends{
    {"auto", BackendChoice::kAuto}, {"cpu", BackendChoice::kCpu}, {"cuda", BackendChoice::kCuda}};
const std::map<std::string, ModelControlMode> kModelControls{
    {"none", ModelControlMode::kNone},
    {"poll", ModelControlMode::kPoll},
    {"explicit", ModelControlMode::kExplicit}};
const std::map<std::string, Compression> kCompressions{
    {"none", Compression::kNone}, {"gzip", Compression::kGzip}, {"deflate", Compression::kDeflate}};
const std::map<std::string, SharedMemory> kSharedMemories{{"off", SharedMemory::kOff},
                                                          {"system", SharedMemory::kSystem},
                                                          {"cuda", SharedMemory::kCuda},
                                                          {"all", SharedMemory::kAll}};
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
                 "Address of /metrics, health and readiness, host:port or [host]:port")
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

void AddSecurity(CLI::App& app, Config& config) {
  app.add_option("--tls-certificate", config.tls_certificate,
                 "PEM file of the gRPC server's certificate, with --tls-key: clients must speak "
                 "TLS. The files are read again when they change")
      ->type_name("FILE");
  app.add_option("--tls-key", config.tls_key, "PEM file of the certificate's private key")
      ->type_name("FILE");
  app.add_option("--tls-client-ca", config.tls_client_ca,
                 "PEM file of the roots that clients' certificates must lead to: mutual TLS")
      ->type_name("FILE");
  app.add_option(
         "--token-file", config.token_file,
         "File with a token on each line: every gRPC call must bring one as "
         "\"authorization: Bearer TOKEN\", else UNAUTHENTICATED. Read again when it changes")
      ->type_name("FILE");
  app.add_flag("--open-health", config.open_health,
               "grpc.health.v1 asks for no token, as probes of an orchestrator send none");
}

void AddLimits(CLI::App& app, Config& config) {
  app.add_option("--cpu-threads", config.cpu_threads,
                 "Arithmetic threads of the CPU backend; 0: one for each processor that this "
                 "process may use "
                 "(its affinity, and the quota of its cgroup rounded up)")
      ->type_name("N")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--max-message-bytes", config.max_message_bytes,
                 "Largest request accepted, in bytes; longer ones fail with RESOURCE_EXHAUSTED. "
                 "0: the larger of 64 MiB and the largest request of any block found at start")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, kMaxMessageBytes))
      ->capture_default_str();
  app.add_option("--max-connections", config.max_connections,
                 "gRPC connections open at a time; more are closed as they come and counted. "
                 "Default: what the limit of open files (ulimit -n) leaves")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, kMostConnections));
  app.add_option(
         "--max-connections-per-address", config.max_connections_of_an_address,
         "The same for the connections of one IP address (of IPv6: of one /64), so that one "
         "host cannot take them all; 0: no such limit, as behind a proxy")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, kMostConnections))
      ->capture_default_str();
  app.add_option(
         "--memory-quota-bytes", config.memory_quota_bytes,
         "Bytes that gRPC may hold for what it receives, of all connections together; near "
         "it, it reads less and asks idle connections to come again; with "
         "--grpc-compression, what requests inflate to may hold as much again. 0: a quarter of the "
         "memory of the machine or of this process's cgroup, 256 MiB to 4 GiB, but two of "
         "the largest requests at least")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 50))
      ->capture_default_str();
  AddSeconds(app, "--unread-timeout", config.unread_timeout, 0.1,
             "Seconds after which an answer that its client has not read is cancelled; sooner "
             "where such answers hold much memory");
  app.add_flag("--strict-readiness", config.strict_readiness,
               "Not ready while any block of the repository has failed to load");
  app.add_flag(
      "--allow-non-finite", config.allow_non_finite,
      "Load blocks whose tensors hold NaN, infinity, or numbers that become infinite in the "
      "block's compute type; else such a block has failed");
  AddSeconds(app, "--drain-grace", config.drain_grace, 0.0,
             "Seconds after SIGTERM in which new requests are still served while health already "
             "says NOT_SERVING; a second SIGTERM ends it at once");
  AddSeconds(app, "--drain-timeout", config.drain_timeout, 0.0,
             "Seconds after SIGTERM, --drain-grace included, after which the process has ended, "
             "whatever is still unanswered or unread then. Default: 15 more than --drain-grace");
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
  AddSecurity(app, config);
  AddChoice(app, "--grpc-compression", config.grpc_compression, kCompressions,
            "Compression of gRPC answers, for clients that say that they take it, and whether "
            "compressed requests are taken (of either kind, inflated up to --max-message-bytes). "
            "none: they fail with UNIMPLEMENTED");
  AddChoice(
      app, "--shared-memory", config.shared_memory, kSharedMemories,
      "system: clients may register POSIX shared memory (/dev/shm), and requests lie there "
      "instead of in messages; cuda: memory of a GPU that this server computes on; all: both. "
      "The risk: any client, of any host, may name any object there that this process may "
      "open, and have it read and written; and memory of a GPU that its owner frees while it "
      "is registered may end the server. For clients that are trusted and on this machine");
  AddChoice(app, "--log-format", config.log_format, kLogFormats,
            "One line of text or of JSON each");
  app.add_option("--log-level", config.log_level, "Least severe level that is logged")
      ->type_name("LEVEL")
      ->check(CLI::IsMember(kLogLevels))
      ->capture_default_str();
}

// What the process needs besides its connections: event queues, logs, the files of a load,
// shared memory.
int64_t OwnFiles(const Config& config, int64_t open_files) {
  const int64_t regions = config.shared_memory == SharedMemory::kOff ? 0 : kMostSharedRegions;
  return 32 + regions + std::min<int64_t>(open_files / 8, 256);
}

std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

absl::StatusOr<ParsedFlags> ParseFlags(int argc, const char* const* argv, int64_t open_files) {
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
  if (config.cpu_threads == 0) config.cpu_threads = UsableProcessors();
  config.max_http_connections = std::clamp<int64_t>(open_files / 8, 1, kMostHttpConnections);
  const int64_t left = open_files - config.max_http_connections - OwnFiles(config, open_files);
  if (app.count("--max-connections") == 0) {
    config.max_connections = std::clamp<int64_t>(left, 1, kMostConnections);
  } else if (config.max_connections > left) {
    return absl::InvalidArgumentError(
        "--max-connections: expected at most " + std::to_string(left) +
        ", as the limit of open files is " + std::to_string(open_files) + " (ulimit -n), found " +
        std::to_string(config.max_connections) + " (see mlpserve --help)");
  }
  if (app.count("--drain-timeout") == 0) {
    config.drain_timeout = config.drain_grace + kFinishTime;
  } else if (config.drain_timeout < config.drain_grace) {
    return absl::InvalidArgumentError(
        "--drain-timeout: expected at least --drain-grace, which it includes, " +
        std::to_string(config.drain_grace.count()) + " ms, found " +
        std::to_string(config.drain_timeout.count()) + " ms (see mlpserve --help)");
  }
  return parsed;
}

}  // namespace mlpserve
