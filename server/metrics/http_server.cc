#include "server/metrics/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/status/status_macros.h"
#include "server/metrics/metrics.h"
#include "server/net/acceptor.h"
#include "server/net/listen.h"

namespace mlpserve {
namespace {

constexpr const char* kPlainText = "text/plain; charset=utf-8";
constexpr const char* kHtml = "text/html; charset=utf-8";
// The page brings its style and script along and asks nobody but this server.
constexpr const char* kHtmlPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";
constexpr const char* kIndex =
    "mlpserve\n\n"
    "/metrics  Prometheus metrics\n"
    "/healthz  200 while the process lives\n"
    "/readyz   200 when requests are welcome, else 503 and the reason\n"
    "/v2/health/live, /v2/health/ready, /v2/models/NAME/ready   the same, and of one block\n";

struct Header {
  const char* name;
  const char* value;
};

constexpr const char* kNotFound =
    "not found; there are /metrics, /healthz, /readyz, /v2/health/live, /v2/health/ready and "
    "/v2/models/NAME/ready\n";

struct Answer {
  int code = 200;
  std::string body;
  const char* content_type = kPlainText;
  std::vector<Header> more_headers;
};

Answer AnswerReadiness(const absl::Status& ready) {
  if (ready.ok()) return {.body = "ready\n"};
  const std::string reason = absl::StrReplaceAll(std::string(ready.message()), {{"\n", " "}});
  return {.code = 503, .body = absl::StrCat("not ready: ", reason, "\n")};
}

// NAME/ready and NAME/versions/VERSION/ready.
Answer AnswerModel(const HttpPages& pages, std::string_view path) {
  constexpr std::string_view kReady = "/ready";
  constexpr std::string_view kVersions = "/versions/";
  Answer unknown{.code = 404, .body = kNotFound};
  if (!pages.model_readiness || !path.ends_with(kReady)) return unknown;
  path.remove_suffix(kReady.size());
  const size_t versions = path.rfind(kVersions);
  const bool names_version = versions != std::string_view::npos;
  const std::string name(path.substr(0, versions));
  const std::string version(names_version ? path.substr(versions + kVersions.size()) : "");
  if (name.empty() || (names_version && version.empty())) return unknown;
  const absl::Status ready = pages.model_readiness(name, version);
  Answer answer = AnswerReadiness(ready);
  if (absl::IsNotFound(ready) || absl::IsInvalidArgument(ready)) answer.code = 404;
  return answer;
}

Answer AnswerTo(const HttpPages& pages, std::string_view path) {
  constexpr std::string_view kModels = "/v2/models/";
  if (path == "/metrics") {
    return {.body = pages.metrics(), .content_type = Metrics::kContentType};
  }
  if (path == "/healthz" || path == "/v2/health/live") return {.body = "alive\n"};
  if (path == "/readyz" || path == "/v2/health/ready") return AnswerReadiness(pages.readiness());
  if (path.starts_with(kModels)) return AnswerModel(pages, path.substr(kModels.size()));
  if (path == "/" && !pages.index) return {.body = kIndex};
  if (path == "/") {
    return {.body = pages.index(),
            .content_type = kHtml,
            .more_headers = {{"Content-Security-Policy", kHtmlPolicy},
                             {"X-Content-Type-Options", "nosniff"}}};
  }
  return {.code = 404, .body = kNotFound};
}

Answer AnswerRequest(const HttpPages& pages, std::string_view method, std::string_view path) {
  if (method == MHD_HTTP_METHOD_GET || method == MHD_HTTP_METHOD_HEAD) return AnswerTo(pages, path);
  return {.code = 405, .body = "only GET and HEAD\n", .more_headers = {{"Allow", "GET, HEAD"}}};
}

// libmicrohttpd leaves out the body of an answer to HEAD, and sends its length all the same.
MHD_Result Send(MHD_Connection* connection, Answer answer) {
  auto* body = new std::string(std::move(answer.body));
  MHD_Response* response = MHD_create_response_from_buffer_with_free_callback_cls(
      body->size(), body->data(), [](void* owned) { delete static_cast<std::string*>(owned); },
      body);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, "Content-Type", answer.content_type);
  MHD_add_response_header(response, "Cache-Control", "no-store");
  MHD_add_response_header(response, "Connection", "close");
  for (const Header& header : answer.more_headers) {
    MHD_add_response_header(response, header.name, header.value);
  }
  const MHD_Result queued =
      MHD_queue_response(connection, static_cast<unsigned>(answer.code), response);
  MHD_destroy_response(response);
  return queued;
}

// Called when the headers are there; a body that a client sends with them is not waited for.
MHD_Result OnRequest(void* pages, MHD_Connection* connection, const char* path, const char* method,
                     const char* /*version*/, const char* /*upload*/, size_t* /*upload_size*/,
                     void** /*state*/) noexcept {
  return Send(connection, AnswerRequest(*static_cast<const HttpPages*>(pages), method, path));
}

absl::Status InWords(const std::string& address, const absl::Status& status) {
  if (absl::IsInvalidArgument(status)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "HTTP address: expected host:port, such as 127.0.0.1:8002, found \"", address, "\""));
  }
  return absl::Status(status.code(), absl::StrCat("HTTP: ", status.message()));
}

}  // namespace

// One of libmicrohttpd's daemons for each thread: given sockets, it has no pool of its own.
struct HttpServer::Daemons {
  // First no connection comes any more, then those that are there end.
  ~Daemons() {
    acceptor.reset();
    for (MHD_Daemon* daemon : daemons) MHD_stop_daemon(daemon);
  }

  absl::Status Start(const HttpOptions& options) {
    for (int i = 0; i < options.threads; ++i) {
      MHD_Daemon* daemon = MHD_start_daemon(
          MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC, 0, nullptr,
          nullptr, &OnRequest, &pages, MHD_OPTION_CONNECTION_LIMIT,
          static_cast<unsigned>(options.max_connections), MHD_OPTION_CONNECTION_TIMEOUT,
          static_cast<unsigned>(options.idle_timeout.count()), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
          size_t{16} << 10, MHD_OPTION_END);
      if (daemon == nullptr) return absl::UnavailableError("HTTP: libmicrohttpd does not start");
      daemons.push_back(daemon);
    }
    return absl::OkStatus();
  }

  // On the acceptor's thread.
  void Take(int descriptor) {
    sockaddr_storage name{};
    socklen_t size = sizeof(name);
    getpeername(descriptor, reinterpret_cast<sockaddr*>(&name), &size);
    // Closes the descriptor where it fails.
    MHD_add_connection(daemons[next++ % daemons.size()], descriptor,
                       reinterpret_cast<const sockaddr*>(&name), size);
  }

  HttpPages pages;
  int port = 0;
  size_t next = 0;  // whose turn it is
  std::vector<MHD_Daemon*> daemons;
  std::unique_ptr<Acceptor> acceptor;
};

HttpServer::HttpServer(std::unique_ptr<Daemons> daemons) : daemons_(std::move(daemons)) {}

HttpServer::~HttpServer() = default;

int HttpServer::port() const { return daemons_->port; }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpOptions& options,
                                                              HttpPages pages) {
  auto opened = ListenSockets::Open(options.address);
  if (!opened.ok()) return InWords(options.address, opened.status());
  auto daemons = std::make_unique<Daemons>();
  daemons->pages = std::move(pages);
  daemons->port = opened->port();
  MLPSERVE_RETURN_IF_ERROR(daemons->Start(options));
  std::vector<ListenSockets> sockets;
  sockets.push_back(*std::move(opened));
  daemons->acceptor = std::make_unique<Acceptor>(
      Acceptor::Options{.max_connections = options.max_connections}, std::move(sockets),
      Acceptor::Handlers{.take = [raw = daemons.get()](int descriptor) { raw->Take(descriptor); }});
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(daemons)));
}

}  // namespace mlpserve
