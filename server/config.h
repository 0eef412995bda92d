// The flags of mlpserve, parsed and checked once. Nothing below main.cc reads flags or environment.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/vocabulary/compression.h"
#include "server/vocabulary/shared_memory.h"

namespace mlpserve {

enum class BackendChoice : uint8_t { kAuto, kCpu, kCuda };
// Which blocks are loaded and unloaded while the server runs.
enum class ModelControlMode : uint8_t {
  kNone,      // those of the start stay
  kPoll,      // as the repository changes
  kExplicit,  // at a client's wish
};
enum class LogFormat : uint8_t { kText, kJson };

// What is in flight when new requests are refused has this long, unless --drain-timeout says more.
inline constexpr std::chrono::milliseconds kFinishTime{15'000};

// Field = flag = line of --help = row of docs/flags.md; defaults stand here and nowhere else.
struct Config {
  std::string model_repository;
  std::vector<std::string> grpc_addresses{"127.0.0.1:8001"};
  std::string http_address = "127.0.0.1:8002";
  BackendChoice backend = BackendChoice::kAuto;
  std::string kernel_cache;       // empty: main.cc's choice, under the user's cache directory
  int cpu_threads = 0;            // 0: as many as affinity and cgroup quota allow
  int64_t max_message_bytes = 0;  // 0: the larger of 64 MiB and the largest request of any block
  ModelControlMode model_control = ModelControlMode::kNone;
  std::vector<std::string> load_models;  // kExplicit: at start; "*": every one
  std::chrono::milliseconds poll_interval{5000};
  int64_t max_connections = 1000;  // ParseFlags: what the limit of open files leaves
  int64_t max_connections_of_an_address = 0;
  int64_t max_http_connections = 100;  // no flag: a part of the same limit
  int64_t memory_quota_bytes = 0;      // 0: a quarter of the memory, 256 MiB to 4 GiB
  std::chrono::milliseconds unread_timeout{30'000};
  std::string tls_certificate;  // empty: plain text
  std::string tls_key;
  std::string tls_client_ca;  // empty: clients need no certificate
  std::string token_file;     // empty: clients need no token
  bool open_health = false;
  Compression grpc_compression = Compression::kNone;
  SharedMemory shared_memory = SharedMemory::kOff;
  bool strict_readiness = false;
  bool allow_non_finite = false;
  std::chrono::milliseconds drain_grace{5000};
  std::chrono::milliseconds drain_timeout{20'000};  // kFinishTime more than drain_grace
  LogFormat log_format = LogFormat::kText;
  std::string log_level = "info";
};

struct ParsedFlags {
  Config config;
  std::optional<std::string> answer;  // --help or --version: print this and exit with 0
};

// Errors are INVALID_ARGUMENT: one line that names the flag, what was expected and what came.
// `open_files` is how many files, and so connections, the process may have open.
absl::StatusOr<ParsedFlags> ParseFlags(int argc, const char* const* argv,
                                       int64_t open_files = 1 << 20);

}  // namespace mlpserve
