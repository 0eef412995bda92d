// mlpserve: reads the flags, chooses the backend, and runs the server until it is told to stop.

#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/backend_choice.h"
#include "server/config.h"
#include "server/logging.h"
#include "server/metrics/metrics.h"
#include "server/server.h"
#include "server/signals.h"
#include "server/stop_requests.h"
#include "server/transport/grpc_limits.h"
#include "server/version.h"

namespace mlpserve {
namespace {

// Where compiled kernels are kept unless told otherwise; empty for a user without a home.
std::string DefaultKernelCache() {
  const char* caches = std::getenv("XDG_CACHE_HOME");
  if (caches != nullptr && caches[0] == '/') return absl::StrCat(caches, "/mlpserve");
  const char* home = std::getenv("HOME");
  return home != nullptr && home[0] == '/' ? absl::StrCat(home, "/.cache/mlpserve") : "";
}

absl::StatusOr<StopReason> Serve(const Config& config, StopRequests& stop) {
  Metrics metrics({.version = kVersion, .commit = kCommit, .compiler = __VERSION__});
  MLPSERVE_ASSIGN_OR_RETURN(ChosenBackend chosen,
                            ChooseBackend(config, DefaultKernelCache(), metrics));
  MLPSERVE_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                            Server::Start(config, std::move(chosen), metrics, stop));
  return server->Run();
}

int Run(int argc, char** argv) {
  const int64_t open_files = RaiseOpenFileLimit();
  const absl::StatusOr<ParsedFlags> flags = ParseFlags(argc, argv, open_files);
  if (!flags.ok()) {
    std::fprintf(stderr, "mlpserve: %s\n", std::string(flags.status().message()).c_str());
    return kBadStartCode;
  }
  if (flags->answer.has_value()) {
    std::fputs(flags->answer->c_str(), stdout);
    return 0;
  }
  StopRequests stop;
  const StopSignals signals([&stop] { stop.Ask(StopReason::kAsked); });
  InstallLogger(flags->config.log_format, flags->config.log_level);
  const absl::StatusOr<StopReason> ended = Serve(flags->config, stop);
  if (!ended.ok()) {
    std::fprintf(stderr, "mlpserve: %s\n", std::string(ended.status().message()).c_str());
    return kBadStartCode;
  }
  spdlog::info("stopped");
  return ExitCode(*ended);
}

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) { return mlpserve::Run(argc, argv); }
