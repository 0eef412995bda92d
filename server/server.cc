#include "server/server.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status/status_macros.h"
#include "server/lifecycle/readiness.h"
#include "server/machine/limits.h"
#include "server/transport/grpc_limits.h"
#include "server/version.h"

namespace mlpserve {
namespace {

// For what is in flight where a device is lost: it fails at once, and the supervisor waits.
constexpr std::chrono::milliseconds kLostFinishTime{700};
// All in all, from the loss on: over it the process ends as it is. A driver whose device is gone
// may keep whoever asks it for anything.
constexpr std::chrono::milliseconds kLostEndTime{1500};
// Of --drain-timeout, for what comes after the last answer: cancelling what nobody reads, ending
// blocks and threads.
constexpr std::chrono::milliseconds kEndTime{500};
// So long it goes on answering "not ready" and "unavailable" then, for those who ask why.
constexpr std::chrono::milliseconds kLostGrace{500};
// For a load that was told to stop: over it the process ends under it.
constexpr std::chrono::milliseconds kLoadEndTime{700};
constexpr int64_t kLeastMaxMessageBytes = int64_t{64} << 20;
constexpr int64_t kLeastQuotaBytes = int64_t{256} << 20;
constexpr int64_t kMostQuotaBytes = int64_t{4} << 30;
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

// Ends the process at `limit`, unless it is told before that this is not needed: a batch computes
// for seconds, a backend hangs, a driver does not let go. Nothing that it could leave half done
// outlives it.
void EndAt(TimePoint limit, StopReason reason, const std::stop_token& ended) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_until(lock, ended, limit, [] { return false; });
  if (ended.stop_requested()) return;
  spdlog::critical("not everything has ended in time: ending without it");
  spdlog::shutdown();
  std::_Exit(ExitCode(reason));
}

std::jthread EndThread(TimePoint limit, StopReason reason) {
  return std::jthread(
      [limit, reason](const std::stop_token& ended) { EndAt(limit, reason, ended); });
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
               .on_lost = [this](const absl::Status& reason) { OnLost(reason); },
               .allow_non_finite = config.allow_non_finite}) {}

Server::~Server() {
  if (loading_.joinable()) {
    loading_.request_stop();
    loading_.join();
  }
  metrics_.SetConnections(nullptr);
  http_.reset();  // its pages ask grpc_
  grpc_.reset();
  loader_.Finish();
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
  const auto readiness = [this] {
    MLPSERVE_RETURN_IF_ERROR(Readiness(state_, catalog_));
    return CanAccept();
  };
  const auto model_readiness = [this](const std::string& name, const std::string& version) {
    return catalog_.Find(name, version).status();
  };
  status_ = std::make_unique<Status>(StatusFacts{.version = kVersion,
                                                 .backend = std::string(chosen_.backend->name()),
                                                 .devices = chosen_.backend->devices(),
                                                 .losses = chosen_.losses},
                                     catalog_, metrics_, readiness);
  MLPSERVE_ASSIGN_OR_RETURN(
      http_, HttpServer::Start(
                 {.address = config_.http_address, .max_connections = config_.max_http_connections},
                 {.metrics = [this] { return metrics_.Text(); },
                  .readiness = readiness,
                  .model_readiness = model_readiness,
                  .index = [this] { return status_->Page(); }}));
  GrpcServerOptions options{.addresses = config_.grpc_addresses,
                            .version = kVersion,
                            .backend = std::string(chosen_.backend->name()),
                            .devices = chosen_.backend->devices()};
  options.limits.max_message_bytes = max_message_bytes_;
  if (config_.model_control == ModelControlMode::kExplicit) options.model_control = control_.get();
  options.tls = {.certificate = config_.tls_certificate,
                 .key = config_.tls_key,
                 .client_ca = config_.tls_client_ca};
  options.token_file = config_.token_file;
  options.open_health = config_.open_health;
  options.compression = config_.grpc_compression;
  options.shared_memory = config_.shared_memory;
  options.open_cuda_region = chosen_.open_cuda_region;
  options.limits.memory_quota_bytes = MemoryQuotaBytes();
  options.limits.unread.timeout = config_.unread_timeout;
  options.limits.max_connections = config_.max_connections;
  options.limits.max_connections_of_an_address = config_.max_connections_of_an_address;
  MLPSERVE_ASSIGN_OR_RETURN(grpc_, GrpcServer::Start(options, catalog_, state_, metrics_));
  listening_ = grpc_.get();
  metrics_.SetConnections([this] { return grpc_->connections(); });
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

// HTTP answers before gRPC listens.
absl::Status Server::CanAccept() const {
  const GrpcServer* const grpc = listening_.load();
  if (grpc == nullptr) return absl::UnavailableError("gRPC does not listen yet");
  return grpc->CanAccept();
}

int64_t Server::MaxMessageBytes(const RepositoryScan& scan) const {
  if (config_.max_message_bytes > 0) return config_.max_message_bytes;
  return std::clamp(LargestRequestBytes(scan), kLeastMaxMessageBytes, kMostMaxMessageBytes);
}

int64_t Server::MemoryQuotaBytes() const {
  if (config_.memory_quota_bytes > 0) return config_.memory_quota_bytes;
  const int64_t memory = ReadMachineLimits().memory_bytes;
  const int64_t quarter = memory > 0 ? memory / 4 : kMostQuotaBytes;
  return std::max(2 * max_message_bytes_, std::clamp(quarter, kLeastQuotaBytes, kMostQuotaBytes));
}

// Only when nothing can refuse to start any more: a refusal is one line, and the last.
void Server::LogStart() const {
  LogIgnored(scan_);
  for (const std::string& loss : chosen_.losses) spdlog::warn("{}", loss);
  if (config_.shared_memory != SharedMemory::kOff) {
    spdlog::warn("--shared-memory: any client can have memory of this machine read and written");
  }
  if (OffersCuda(config_.shared_memory) && !chosen_.open_cuda_region) {
    spdlog::warn("--shared-memory: memory of a GPU cannot be registered, as none computes here");
  }
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
  const TimePoint limit = Clock::now() + config_.drain_timeout;
  if (reason == StopReason::kAsked) {
    drain_limit_ = EndThread(limit, reason);
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
    // At least half of what is left is for answers.
    const Duration left = limit - Clock::now();
    grpc_->Shutdown(limit - std::min<Duration>(kEndTime, left / 2));
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
    const bool lost = state_.phase() == Phase::kLost;
    std::_Exit(ExitCode(lost ? StopReason::kDeviceLost : StopReason::kAsked));
  }
  loading_.join();
}

void Server::OnLost(const absl::Status& reason) {
  if (lost_.exchange(true)) return;
  spdlog::critical("a device is lost: {}", std::string(reason.message()));
  state_.Advance(Phase::kLost);
  lost_limit_ = EndThread(Clock::now() + kLostEndTime, StopReason::kDeviceLost);
  stop_.Ask(StopReason::kDeviceLost);
}

}  // namespace mlpserve
