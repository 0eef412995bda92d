#include "server/transport/grpc_server.h"

#include <algorithm>
#include <list>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpc/grpc.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/status/status_macros.h"
#include "server/machine/limits.h"
#include "server/net/acceptor.h"
#include "server/net/listen.h"
#include "server/shared_memory/registry.h"
#include "server/transport/call_queue.h"
#include "server/transport/grpc_log.h"
#include "server/transport/health.h"
#include "server/transport/infer_call.h"
#include "server/transport/infer_stream.h"
#include "server/transport/inference_service.h"
#include "server/transport/reflection.h"
#include "server/transport/tls.h"
#include "server/transport/token_check.h"
#include "server/transport/unary_methods.h"
#include "server/transport/unknown_call.h"
#include "spdlog/spdlog.h"

namespace mlpserve {
namespace {

constexpr int kMaxQueues = 64;
constexpr int kMaxThreadsPerQueue = 64;

// The end of a server, for a client that goes on calling. gRPC 1.51 (Server::ShutdownAndNotify in
// its core) first sets a flag, from which on it gives calls to nobody and ends them with CANCELLED,
// and only then stops to listen and sends GOAWAY, which makes clients leave. Nothing of its
// interface sends GOAWAY by itself (core has it for tests of its own; a connection's greatest age
// is fixed when it begins), and to cut a connection instead would lose answers that are still being
// sent. So a call that is under way at that moment gets CANCELLED where the protocol says
// UNAVAILABLE. Refusing calls ourselves for a while first is worse: a client that does not look at
// health goes on calling until GOAWAY. Three servers that were restarted one after the other under
// 6,000 calls a second failed 7,000 of them so in three seconds, and 4 without.
//
// For the calls that meet the flag: gRPC would wait for its own deadline, and we for gRPC.
constexpr auto kLastCallsGrace = std::chrono::milliseconds(100);

// The last user of gRPC 1.51 waits, in grpc_shutdown, for its executor's threads, and one of them
// may be in epoll_wait for ten seconds: the poller that it starts when an answer does not fit into
// one write (tcp_posix.cc, run_poller), which nothing wakes. So no server is the last user: the
// process holds gRPC, and those threads end with it.
void HoldGrpc() {
  static const bool held = [] {
    grpc_init();
    return true;
  }();
  (void)held;
}

// Debian's Abseil is built with its assertions: whoever locks one of its mutexes, as gRPC does
// dozens of times in a call, looks for a cycle in a graph of all mutexes, under a lock of the
// process.
void SkipDeadlockSearch() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

int ChosenQueues(int wanted) {
  if (wanted > 0) return wanted;
  return std::clamp(UsableProcessors() / 4, 1, 8);
}

absl::Status CheckOptions(const GrpcServerOptions& options) {
  if (options.addresses.empty()) {
    return absl::InvalidArgumentError("expected at least one address to listen on, found none");
  }
  if (options.queues < 0 || options.queues > kMaxQueues) {
    return absl::InvalidArgumentError(
        absl::StrCat("queues: expected 0 to ", kMaxQueues, ", found ", options.queues));
  }
  if (options.threads_per_queue < 1 || options.threads_per_queue > kMaxThreadsPerQueue) {
    return absl::InvalidArgumentError(absl::StrCat("threads_per_queue: expected 1 to ",
                                                   kMaxThreadsPerQueue, ", found ",
                                                   options.threads_per_queue));
  }
  std::set<std::string> seen;
  for (const std::string& address : options.addresses) {
    if (!seen.insert(address).second && !absl::EndsWith(address, ":0")) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected different addresses to listen on, found ", address, " twice"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ListenSockets>> OpenSockets(const std::vector<std::string>& addresses) {
  std::vector<ListenSockets> sockets;
  for (const std::string& address : addresses) {
    MLPSERVE_ASSIGN_OR_RETURN(ListenSockets opened, ListenSockets::Open(address));
    sockets.push_back(std::move(opened));
  }
  return sockets;
}

}  // namespace

// In the order in which they are needed: what calls refer to is destroyed after them.
struct GrpcServer::Parts {
  Parts(const GrpcServerOptions& options, const Catalog& catalog, ServingState& serving_state,
        Metrics& metrics)
      : state(serving_state),
        regions(
            options.shared_memory == SharedMemory::kOff
                ? nullptr
                : std::make_unique<SharedRegions>(options.shared_memory, options.open_cuda_region)),
        methods(service,
                {.version = options.version,
                 .backend = options.backend,
                 .devices = options.devices,
                 .has_system_memory = OffersSystem(options.shared_memory),
                 .has_cuda_memory = OffersCuda(options.shared_memory) && options.open_cuda_region},
                catalog, state, options.model_control, regions.get()),
        health(state, options.open_health),
        unread(std::make_shared<UnreadAnswers>(options.limits.unread)),
        inflater({.enabled = options.compression != Compression::kNone,
                  .max_message_bytes = options.limits.max_message_bytes,
                  .most_bytes = options.limits.memory_quota_bytes}),
        needs{.catalog = catalog,
              .state = state,
              .metrics = metrics,
              .unread = *unread,
              .inflater = inflater,
              .max_message_bytes = options.limits.max_message_bytes,
              .regions = regions.get()},
        infer_streams(service, needs) {}

  absl::Status Build(const GrpcServerOptions& options);
  void Serve(int threads_per_queue);
  std::unique_ptr<Acceptor> Accept(const GrpcLimits& limits, std::vector<ListenSockets> sockets);

  ServingState& state;
  const std::unique_ptr<SharedRegions> regions;  // null: shared memory is off
  InferenceService service;
  UnaryMethods methods;
  Health health;
  Reflection reflection;
  grpc::AsyncGenericService unknown;  // what no other service offers
  const std::shared_ptr<UnreadAnswers> unread;
  const Inflater inflater;
  const InferNeeds needs;
  InferStreams infer_streams;
  std::unique_ptr<TokenCheck> tokens;
  std::list<CallQueue> queues;
  std::list<InferCalls> infer_calls;  // one for each queue
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections;  // into `server`
};

absl::Status GrpcServer::Parts::Build(const GrpcServerOptions& options) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(options.tls));
  MLPSERVE_ASSIGN_OR_RETURN(tokens, TokenCheck::Open(options.token_file));
  grpc::ServerBuilder builder;
  ApplyLimits(options.limits, builder);
  ApplyCompression(options.compression, builder);
  builder.RegisterService(&service);
  builder.RegisterService(&health.service());
  builder.RegisterService(&reflection.v1());
  builder.RegisterService(&reflection.v1alpha());
  builder.RegisterAsyncGenericService(&unknown);
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  connections = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD, credentials);
  for (int i = 0; i < ChosenQueues(options.queues); ++i) {
    queues.emplace_back(builder.AddCompletionQueue(), *tokens, inflater);
  }
  server = builder.BuildAndStart();
  if (server == nullptr) return absl::UnavailableError("gRPC refuses to start its server");
  return absl::OkStatus();
}

// After Serve: a connection that comes is answered.
std::unique_ptr<Acceptor> GrpcServer::Parts::Accept(const GrpcLimits& limits,
                                                    std::vector<ListenSockets> sockets) {
  const auto take = [this](int descriptor) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = descriptor;
    connections->HandleNewConnection(&connection);
  };
  const auto on_refused = [](const char* reason) {
    spdlog::warn("connections are refused: {}", reason);
  };
  return std::make_unique<Acceptor>(
      Acceptor::Options{.max_connections = limits.max_connections,
                        .max_connections_of_an_address = limits.max_connections_of_an_address,
                        .unacknowledged_timeout = limits.keepalive_timeout},
      std::move(sockets), Acceptor::Handlers{.take = take, .on_refused = on_refused});
}

void GrpcServer::Parts::Serve(int threads_per_queue) {
  for (CallQueue& queue : queues) {
    infer_calls.emplace_back(InferCalls::Needs{.service = service, .queue = queue, .infer = needs})
        .Start();
    infer_streams.Accept(queue);
    methods.Accept(queue);
    health.Accept(queue);
    reflection.Accept(queue);
    UnknownCall::Accept(unknown, queue);
  }
  state.SetListener([this] { health.Update(); });
  for (CallQueue& queue : queues) queue.StartThreads(threads_per_queue);
}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                              const Catalog& catalog,
                                                              ServingState& state,
                                                              Metrics& metrics) {
  MLPSERVE_RETURN_IF_ERROR(CheckOptions(options));
  RouteGrpcLog();
  HoldGrpc();
  SkipDeadlockSearch();
  auto parts = std::make_unique<Parts>(options, catalog, state, metrics);
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<ListenSockets> sockets, OpenSockets(options.addresses));
  MLPSERVE_RETURN_IF_ERROR(parts->Build(options));
  std::vector<int> ports;
  for (const ListenSockets& opened : sockets) ports.push_back(opened.port());
  parts->Serve(options.threads_per_queue);
  auto acceptor = parts->Accept(options.limits, std::move(sockets));
  return std::unique_ptr<GrpcServer>(
      new GrpcServer(std::move(parts), std::move(ports), std::move(acceptor)));
}

GrpcServer::GrpcServer(std::unique_ptr<Parts> parts, std::vector<int> ports,
                       std::unique_ptr<Acceptor> acceptor)
    : parts_(std::move(parts)),
      unread_(parts_->unread),
      acceptor_(std::move(acceptor)),
      ports_(std::move(ports)) {}

GrpcServer::~GrpcServer() {
  if (parts_ != nullptr) Shutdown(Clock::now());
}

ConnectionCounts GrpcServer::connections() const {
  const Acceptor::Refused refused = acceptor_->refused();
  const UnreadAnswers::Counts unread = unread_->counts();
  return {.open = acceptor_->CountOpen(),
          .limit = acceptor_->max_connections(),
          .refused_by_limit = refused.limit,
          .refused_by_address = refused.address,
          .refused_by_descriptors = refused.descriptors,
          .unread_bytes = unread.bytes,
          .unread_cancelled = unread.cancelled};
}

absl::Status GrpcServer::CanAccept() const { return acceptor_->CanAccept(); }

void GrpcServer::Shutdown(TimePoint deadline) {
  parts_->state.Advance(Phase::kClosing);
  parts_->state.SetListener(nullptr);
  parts_->health.CloseWatches();
  parts_->infer_streams.CloseAll();
  for (InferCalls& calls : parts_->infer_calls) calls.WaitUntilAnswered(deadline);
  parts_->infer_streams.WaitUntilEnded(deadline);
  acceptor_->Stop();
  parts_->server->Shutdown(std::chrono::system_clock::now() + kLastCallsGrace);
  for (CallQueue& queue : parts_->queues) queue.Finish();
  parts_.reset();
}

}  // namespace mlpserve
