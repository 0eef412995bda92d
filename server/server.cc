#include "server/server.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status/status_macros.h"
#include "server/lifecycle/readiness.h"
#include "server/open_connections.h"
#include "server/transport/grpc_limits.h"
#include "server/version.h"

namespace mlpserve {
namespace {

// For what is in flight when new requests are refused; a batch takes milliseconds, a reader may not
// read at all.
constexpr std::chrono::seconds kFinishTime{30};
// The same where a device is lost: what is in flight fails at once, and the supervisor waits.
constexpr std::chrono::seconds kLostFinishTime{2};
// So long it goes on answering "not ready" and "unavailable" then, for those who ask why.
constexpr std::chrono::milliseconds kLostGrace{500};
// For a load that was told to stop: over it the process ends under it.
constexpr std::chrono::milliseconds kLoadEndTime{700};
constexpr int64_t kLeastMaxMessageBytes = int64_t{64} << 20;
constexpr int64_t kMostMaxMessageBytes = 2147483647;  // gRPC counts them in an int

// The address with the port that was chosen where it said 0.
std::string WithPort(const std::string& address, int port) {
  if (port == 0) return address;  // a unix socket
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

// Leaves in the scan the blocks of these names; "*" is every one.
absl::Status KeepOnly(const std::vector<std::string>& names, RepositoryScan& scan) {
  std::set<std::string> wanted(names.begin(), names.end());
  if (wanted.erase("*") > 0) return absl::OkStatus();
  std::vector<RepositoryBlock> kept;
  for (RepositoryBlock& block : scan.blocks) {
    if (wanted.erase(block.name) > 0) kept.push_back(std::move(block));
  }
  scan.blocks = std::move(kept);
  if (wanted.empty()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("--load-model ", *wanted.begin(),
                                          ": expected a block of the model repository, found none "
                                          "of that name"));
}

std::function<int64_t()> ConnectionsOf(const Config& config, const GrpcServer& grpc) {
  std::vector<std::string> unix_paths;
  for (const std::string& address : config.grpc_addresses) {
    if (absl::StartsWith(address, "unix:")) unix_paths.push_back(address.substr(5));
  }
  return [ports = grpc.ports(), unix_paths] { return CountOpenConnections(ports, unix_paths); };
}

}  // namespace

Server::Server(const Config& config, ChosenBackend chosen, Metrics& metrics, StopRequests& stop)
    : config_(config),
      chosen_(std::move(chosen)),
      metrics_(metrics),
      stop_(stop),
      threads_({}),
      loader_({.backend = *chosen_.backend,
               .threads = threads_,
               .retirer = retirer_,
               .catalog = catalog_,
               .metrics = metrics,
               .on_lost = [this](const absl::Status& reason) { OnLost(reason); }}) {}

Server::~Server() {
  if (loading_.joinable()) {
    loading_.request_stop();
    loading_.join();
  }
  grpc_.reset();
  loader_.Finish();
  metrics_.SetConnections(nullptr);
  metrics_.SetModelStates(nullptr);
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Config& config, ChosenBackend chosen,
                                                      Metrics& metrics, StopRequests& stop) {
  MLPSERVE_ASSIGN_OR_RETURN(RepositoryScan scan, ScanRepository(config.model_repository));
  std::unique_ptr<Server> server(new Server(config, std::move(chosen), metrics, stop));
  server->max_message_bytes_ = server->MaxMessageBytes(scan);
  if (config.model_control == ModelControlMode::kExplicit) {
    MLPSERVE_RETURN_IF_ERROR(KeepOnly(config.load_models, scan));
  }
  server->scan_ = std::move(scan);
  server->loader_.Announce(server->scan_);
  server->control_ = std::make_unique<RepositoryControl>(server->ControlOptions(), server->loader_);
  server->control_->SetLoaded(server->scan_);
  MLPSERVE_RETURN_IF_ERROR(server->Listen());
  server->LogStart();
  // On a thread of its own, so that a request to stop is heard meanwhile.
  server->loading_ =
      std::jthread([raw = server.get()](const std::stop_token& asked) { raw->Load(asked); });
  return server;
}

absl::Status Server::Listen() {
  metrics_.SetModelStates([this] { return ModelStates(catalog_); });
  const auto readiness = [this] { return Readiness(state_, catalog_); };
  status_ = std::make_unique<Status>(StatusFacts{.version = kVersion,
                                                 .backend = std::string(chosen_.backend->name()),
                                                 .devices = chosen_.backend->devices(),
                                                 .losses = chosen_.losses},
                                     catalog_, metrics_, readiness);
  MLPSERVE_ASSIGN_OR_RETURN(http_,
                            HttpServer::Start({.address = config_.http_address},
                                              {.metrics = [this] { return metrics_.Text(); },
                                               .readiness = readiness,
                                               .index = [this] { return status_->Page(); }}));
  GrpcServerOptions options{.addresses = config_.grpc_addresses,
                            .version = kVersion,
                            .backend = std::string(chosen_.backend->name())};
  options.limits.max_message_bytes = max_message_bytes_;
  if (config_.model_control == ModelControlMode::kExplicit) options.model_control = control_.get();
  MLPSERVE_ASSIGN_OR_RETURN(grpc_, GrpcServer::Start(options, catalog_, state_, metrics_));
  metrics_.SetConnections(ConnectionsOf(config_, *grpc_));
  return absl::OkStatus();
}

RepositoryControl::Options Server::ControlOptions() {
  const bool polls = config_.model_control == ModelControlMode::kPoll;
  return {.repository = config_.model_repository,
          .poll_interval = polls ? config_.poll_interval : std::chrono::milliseconds(0),
          .max_message_bytes = max_message_bytes_,
          .on_change = [this] {
            if (state_.phase() == Phase::kStarting && BecomeReady().ok()) spdlog::info("ready");
          }};
}

int64_t Server::MaxMessageBytes(const RepositoryScan& scan) const {
  if (config_.max_message_bytes > 0) return config_.max_message_bytes;
  return std::clamp(LargestRequestBytes(scan), kLeastMaxMessageBytes, kMostMaxMessageBytes);
}

// Only when nothing can refuse to start any more: a refusal is one line, and the last.
void Server::LogStart() const {
  LogIgnored(scan_);
  for (const std::string& loss : chosen_.losses) spdlog::warn("{}", loss);
  spdlog::info("computing on {}", absl::StrJoin(chosen_.backend->devices(), ", "));
  spdlog::info("HTTP on {}", WithPort(config_.http_address, http_->port()));
  for (size_t i = 0; i < config_.grpc_addresses.size(); i++) {
    spdlog::info("gRPC on {}", WithPort(config_.grpc_addresses[i], grpc_->ports()[i]));
  }
}

void Server::Load(const std::stop_token& stop) {
  const LoadSummary summary = loader_.Load(scan_, stop);
  if (!stop.stop_requested()) {
    spdlog::info("loaded {} of {} blocks", summary.loaded,
                 summary.loaded + static_cast<int>(summary.failed.size()));
    const absl::Status ready = BecomeReady();
    if (ready.ok()) {
      spdlog::info("ready");
    } else {
      spdlog::warn("not ready{}", std::string(ready.message()));
    }
  }
  // Also where it is to stop: it answers whoever has asked for a load meanwhile.
  if (config_.model_control != ModelControlMode::kNone) control_->Run(stop);
  loading_ended_ = true;
}

// OK: the server is ready from now on.
absl::Status Server::BecomeReady() {
  std::vector<std::string> failed;
  bool serves = config_.model_control == ModelControlMode::kExplicit;  // a client may want none
  for (const Catalog::Entry& entry : catalog_.All()) {
    serves |= entry->state == BlockState::kReady;
    if (entry->state == BlockState::kFailed) {
      failed.push_back(entry->version == 0 ? entry->config.name
                                           : absl::StrCat(entry->config.name, "/", entry->version));
    }
  }
  if (!serves) return absl::UnavailableError(": there is no block to serve");
  if (config_.strict_readiness && !failed.empty()) {
    return absl::UnavailableError(
        absl::StrCat(", as --strict-readiness asks: ", absl::StrJoin(failed, ", "), " failed"));
  }
  state_.Advance(Phase::kServing);
  return absl::OkStatus();
}

StopReason Server::Run() {
  const StopReason reason = stop_.Wait();
  loading_.request_stop();
  Drain(reason);
  EndLoading();
  return state_.phase() == Phase::kLost ? StopReason::kDeviceLost : reason;
}

// Balancers see at once that this server is not ready and have the grace to turn away; then new
// requests are refused and those in flight finish.
void Server::Drain(StopReason reason) {
  if (reason == StopReason::kAsked) {
    // Nobody was sent here by a balancer if it was never ready.
    const auto grace = state_.ready() ? config_.drain_grace : std::chrono::milliseconds(0);
    spdlog::info("draining: new requests are served for {} ms more", grace.count());
    state_.Advance(Phase::kDraining);
    reason = stop_.WaitUntil(Clock::now() + grace).value_or(reason);
  }
  if (reason == StopReason::kDeviceLost) {
    stop_.WaitUntil(Clock::now() + kLostGrace);
    grpc_->Shutdown(Clock::now() + kLostFinishTime);
  } else {
    state_.Advance(Phase::kClosing);
    grpc_->Shutdown(Clock::now() + kFinishTime);
  }
}

// Backends promise to end a load soon. Where one does not, the process ends all the same: nothing
// that it could leave half done outlives it.
void Server::EndLoading() {
  const TimePoint limit = Clock::now() + kLoadEndTime;
  while (!loading_ended_ && Clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (!loading_ended_) {
    spdlog::warn("a load goes on though it was told to stop: ending without it");
    spdlog::shutdown();
    std::_Exit(state_.phase() == Phase::kLost ? EXIT_FAILURE : EXIT_SUCCESS);
  }
  loading_.join();
}

void Server::OnLost(const absl::Status& reason) {
  if (lost_.exchange(true)) return;
  spdlog::critical("a device is lost: {}", std::string(reason.message()));
  state_.Advance(Phase::kLost);
  stop_.Ask(StopReason::kDeviceLost);
}

}  // namespace mlpserve
