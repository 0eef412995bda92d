// The server whole: every part put together around one backend, from the repository to the sockets.
// main.cc gives it the flags and the machine's backend, a test a fake one.
//
// Threads: Start, Run and the end on one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/backend_choice.h"
#include "server/config.h"
#include "server/lifecycle/loader.h"
#include "server/lifecycle/repository_control.h"
#include "server/machine/memory_return.h"
#include "server/metrics/http_server.h"
#include "server/metrics/metrics.h"
#include "server/model/repository.h"
#include "server/status/status.h"
#include "server/stop_requests.h"
#include "server/transport/grpc_server.h"

namespace mlpserve {

class Server {
 public:
  // Listens, and begins to load the blocks of the repository. `metrics` and `stop` must outlive the
  // Server. Errors: what refuses to start, in one line.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Config& config, ChosenBackend chosen,
                                                       Metrics& metrics, StopRequests& stop);
  // Waits for blocks, requests and readers as long as they take.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Serves until it is asked to stop, drains (which a second request to stop hurries), and says
  // what ended it; --drain-timeout after the request the process ends, come what may. HTTP answers
  // until the end of the object, /readyz with 503.
  StopReason Run();

  const GrpcServer& grpc() const { return *grpc_; }
  const HttpServer& http() const { return *http_; }
  Loader& loader() { return loader_; }

 private:
  Server(const Config& config, ChosenBackend chosen, Metrics& metrics, StopRequests& stop);

  RepositoryControl::Options ControlOptions();
  absl::Status Listen();
  absl::Status CanAccept() const;
  void LogStart() const;
  void Load(const std::stop_token& stop);
  absl::Status BecomeReady();
  void EndLoading();
  void Drain(StopReason reason);
  void OnLost(const absl::Status& reason);
  int64_t MaxMessageBytes(const RepositoryScan& scan) const;
  int64_t MemoryQuotaBytes() const;

  // These two go last: while they are there, the end is bounded.
  std::jthread lost_limit_;
  std::jthread drain_limit_;
  const Config config_;
  const ChosenBackend chosen_;
  Metrics& metrics_;
  StopRequests& stop_;
  RepositoryScan scan_;  // what is loaded at start
  int64_t max_message_bytes_ = 0;
  ServingState state_;
  BatchThreads threads_;
  Catalog catalog_;
  Retirer retirer_;  // tells the catalog what has ended
  Loader loader_;
  std::unique_ptr<RepositoryControl> control_;
  std::unique_ptr<Status> status_;
  std::unique_ptr<HttpServer> http_;  // reads the status and asks grpc_
  std::unique_ptr<GrpcServer> grpc_;
  std::atomic<const GrpcServer*> listening_{nullptr};  // grpc_, once it listens
  MemoryReturn memory_return_;
  std::atomic<bool> loading_ended_{false};
  std::atomic<bool> lost_{false};
  std::jthread loading_;
};

}  // namespace mlpserve
