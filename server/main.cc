// mlpserve: puts the parts together, waits for SIGTERM, and takes them apart again.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/backend_choice.h"
#include "server/catalog/catalog.h"
#include "server/catalog/serving_state.h"
#include "server/config.h"
#include "server/lifecycle/loader.h"
#include "server/lifecycle/readiness.h"
#include "server/logging.h"
#include "server/metrics/http_server.h"
#include "server/metrics/metrics.h"
#include "server/model/repository.h"
#include "server/open_connections.h"
#include "server/signals.h"
#include "server/transport/grpc_limits.h"
#include "server/transport/grpc_server.h"
#include "server/version.h"
#include "server/vocabulary/request.h"

namespace mlpserve {
namespace {

constexpr int kBadStart = 2;
// For what is in flight when new requests are refused; a batch takes milliseconds, a reader may not
// read at all.
constexpr std::chrono::seconds kFinishTime{30};
constexpr int64_t kLeastMaxMessageBytes = int64_t{64} << 20;
constexpr int64_t kMostMaxMessageBytes = 2147483647;  // gRPC counts them in an int

// Where compiled kernels are kept unless told otherwise; empty for a user without a home.
std::string DefaultKernelCache() {
  const char* caches = std::getenv("XDG_CACHE_HOME");
  if (caches != nullptr && caches[0] == '/') return absl::StrCat(caches, "/mlpserve");
  const char* home = std::getenv("HOME");
  return home != nullptr && home[0] == '/' ? absl::StrCat(home, "/.cache/mlpserve") : "";
}

int64_t MaxMessageBytes(const Config& config, const RepositoryScan& scan) {
  if (config.max_message_bytes > 0) return config.max_message_bytes;
  return std::min(std::max(kLeastMaxMessageBytes, LargestRequestBytes(scan)), kMostMaxMessageBytes);
}

// The address with the port that was chosen where it said 0.
std::string WithPort(const std::string& address, int port) {
  if (port == 0) return address;  // a unix socket
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

std::function<int64_t()> ConnectionsOf(const Config& config, const GrpcServer& grpc) {
  std::vector<std::string> unix_paths;
  for (const std::string& address : config.grpc_addresses) {
    if (absl::StartsWith(address, "unix:")) unix_paths.push_back(address.substr(5));
  }
  return [ports = grpc.ports(), unix_paths] { return CountOpenConnections(ports, unix_paths); };
}

// Only when nothing can refuse to start any more: a refusal is one line, and the last.
void LogStart(const Config& config, const RepositoryScan& scan, const ChosenBackend& chosen,
              const HttpServer& http, const GrpcServer& grpc) {
  LogIgnored(scan);
  for (const std::string& loss : chosen.losses) spdlog::warn("{}", loss);
  spdlog::info("computing on {}", absl::StrJoin(chosen.backend->devices(), ", "));
  spdlog::info("HTTP on {}", WithPort(config.http_address, http.port()));
  for (size_t i = 0; i < config.grpc_addresses.size(); i++) {
    spdlog::info("gRPC on {}", WithPort(config.grpc_addresses[i], grpc.ports()[i]));
  }
}

// Loads on a thread of its own, so that a signal is heard meanwhile.
void LoadAll(const RepositoryScan& scan, bool strict, Loader& loader, ServingState& state,
             const std::stop_token& stop) {
  const LoadSummary summary = loader.Load(scan, stop);
  if (stop.stop_requested()) return;
  spdlog::info("loaded {} of {} blocks", summary.loaded, summary.loaded + summary.failed.size());
  if (summary.loaded == 0) {
    spdlog::warn("not ready: there is no block to serve");
  } else if (strict && !summary.failed.empty()) {
    spdlog::warn("not ready, as --strict-readiness asks: {} failed",
                 absl::StrJoin(summary.failed, ", "));
  } else {
    state.Advance(Phase::kServing);
    spdlog::info("ready");
  }
}

// Balancers see at once that this server is not ready and have the grace to turn away; then new
// requests are refused and those in flight finish.
void Drain(const Config& config, ServingState& state, GrpcServer& grpc) {
  // Nobody was sent here by a balancer if it was never ready.
  const auto grace = state.ready() ? config.drain_grace : std::chrono::milliseconds(0);
  spdlog::info("draining: new requests are served for {} ms more", grace.count());
  state.Advance(Phase::kDraining);
  WaitForStopSignal(grace);
  state.Advance(Phase::kClosing);
  grpc.Shutdown(Clock::now() + kFinishTime);
}

absl::Status Serve(const Config& config) {
  Metrics metrics({.version = kVersion, .commit = kCommit, .compiler = __VERSION__});
  const auto chosen = ChooseBackend(config, DefaultKernelCache(), metrics);
  if (!chosen.ok()) return chosen.status();
  Backend& backend = *chosen->backend;
  const absl::StatusOr<RepositoryScan> scan = ScanRepository(config.model_repository);
  if (!scan.ok()) return scan.status();

  Catalog catalog;
  ServingState state;
  metrics.SetModelStates([&catalog] { return ModelStates(catalog); });
  Loader loader(backend, catalog, metrics);
  loader.Announce(*scan);

  const auto http =
      HttpServer::Start({.address = config.http_address},
                        {.metrics = [&metrics] { return metrics.Text(); },
                         .readiness = [&state, &catalog] { return Readiness(state, catalog); }});
  if (!http.ok()) return http.status();
  GrpcServerOptions options{.addresses = config.grpc_addresses,
                            .version = kVersion,
                            .backend = std::string(backend.name())};
  options.limits.max_message_bytes = MaxMessageBytes(config, *scan);
  auto grpc = GrpcServer::Start(options, catalog, state, metrics);
  if (!grpc.ok()) return grpc.status();
  metrics.SetConnections(ConnectionsOf(config, **grpc));
  LogStart(config, *scan, *chosen, **http, **grpc);

  std::jthread loading([&](const std::stop_token& stop) {
    LoadAll(*scan, config.strict_readiness, loader, state, stop);
  });
  WaitForStopSignal();
  loading.request_stop();
  Drain(config, state, **grpc);
  loading.join();
  loader.Finish();
  spdlog::info("stopped");
  return absl::OkStatus();
}

int Run(int argc, char** argv) {
  const absl::StatusOr<ParsedFlags> flags = ParseFlags(argc, argv);
  if (!flags.ok()) {
    std::fprintf(stderr, "mlpserve: %s\n", std::string(flags.status().message()).c_str());
    return kBadStart;
  }
  if (flags->answer.has_value()) {
    std::fputs(flags->answer->c_str(), stdout);
    return 0;
  }
  BlockStopSignals();
  RaiseOpenFileLimit();
  InstallLogger(flags->config.log_format, flags->config.log_level);
  const absl::Status served = Serve(flags->config);
  if (served.ok()) return 0;
  std::fprintf(stderr, "mlpserve: %s\n", std::string(served.message()).c_str());
  return kBadStart;
}

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) { return mlpserve::Run(argc, argv); }
