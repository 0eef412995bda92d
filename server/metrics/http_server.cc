#include "server/metrics/http_server.h"

#include <civetweb.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/status/status_macros.h"
#include "server/metrics/metrics.h"
#include "server/sync/mutex.h"

namespace mlpserve {
namespace {

constexpr const char* kPlainText = "text/plain; charset=utf-8";
constexpr const char* kHtml = "text/html; charset=utf-8";
// The page brings its style and script along and asks nobody but this server.
constexpr const char* kHtmlPolicy =
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n";
constexpr const char* kIndex =
    "mlpserve\n\n"
    "/metrics  Prometheus metrics\n"
    "/healthz  200 while the process lives\n"
    "/readyz   200 when requests are welcome, else 503 and the reason\n";

struct Answer {
  int code = 200;
  std::string body;
  const char* content_type = kPlainText;
  const char* more_headers = "";
};

const char* ReasonPhrase(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

Answer AnswerReadiness(const absl::Status& ready) {
  if (ready.ok()) return {.body = "ready\n"};
  const std::string reason = absl::StrReplaceAll(std::string(ready.message()), {{"\n", " "}});
  return {.code = 503, .body = absl::StrCat("not ready: ", reason, "\n")};
}

Answer AnswerTo(const HttpPages& pages, std::string_view path) {
  if (path == "/metrics") {
    return {.body = pages.metrics(), .content_type = Metrics::kContentType};
  }
  if (path == "/healthz") return {.body = "alive\n"};
  if (path == "/readyz") return AnswerReadiness(pages.readiness());
  if (path == "/" && !pages.index) return {.body = kIndex};
  if (path == "/") {
    return {.body = pages.index(), .content_type = kHtml, .more_headers = kHtmlPolicy};
  }
  return {.code = 404, .body = "not found; there are /metrics, /healthz and /readyz\n"};
}

void Send(mg_connection* connection, const Answer& answer, bool with_body) {
  std::string message = absl::StrCat(
      "HTTP/1.1 ", answer.code, " ", ReasonPhrase(answer.code),
      "\r\nContent-Type: ", answer.content_type, "\r\nContent-Length: ", answer.body.size(), "\r\n",
      answer.more_headers, "Cache-Control: no-store\r\nConnection: close\r\n\r\n");
  if (with_body) message += answer.body;
  mg_write(connection, message.data(), message.size());
}

int AnswerRequest(mg_connection* connection, const HttpPages& pages) {
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string_view method = request->request_method;
  Answer answer;
  if (method == "GET" || method == "HEAD") {
    answer = AnswerTo(pages, request->local_uri);
  } else {
    answer = {.code = 405, .body = "only GET and HEAD\n", .more_headers = "Allow: GET, HEAD\r\n"};
  }
  Send(connection, answer, method != "HEAD");
  return answer.code;
}

// civetweb takes more than host:port (lists, TLS marks, a port alone, which it opens to the world):
// only what was documented gets through.
absl::Status CheckAddress(std::string_view address) {
  const auto error = [&](std::string_view found) {
    return absl::InvalidArgumentError(
        absl::StrCat("HTTP address \"", std::string(address),
                     "\": expected host:port, such as 127.0.0.1:8002, found ", std::string(found)));
  };
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return error("no port");
  std::string_view host = address.substr(0, colon);
  const std::string_view digits = address.substr(colon + 1);
  int port = -1;
  const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (bad != std::errc() || end != digits.data() + digits.size() || port < 0 || port > 65535) {
    return error(absl::StrCat("port \"", std::string(digits), "\", which is not 0 to 65535"));
  }
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed && mg_check_feature(MG_FEATURES_IPV6) == 0) {
    return error("an IPv6 address, which the installed civetweb cannot listen on");
  }
  if (host.empty()) return error("no host");
  for (const char c : host) {
    const bool fits =
        bracketed ? absl::ascii_isxdigit(static_cast<unsigned char>(c)) || c == ':' || c == '.'
                  : absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' ||
                        c == '_';
    if (!fits) return error(absl::StrCat("'", std::string(1, c), "' in the host"));
  }
  return absl::OkStatus();
}

}  // namespace

// civetweb's context, and what its callbacks find through it. They are set before it starts, so
// that the first connection is answered as the later ones are.
struct HttpServer::Listener {
  HttpPages pages;
  mg_context* context = nullptr;
  Mutex mutex;
  std::string complaint ABSL_GUARDED_BY(mutex);

  static Listener* Of(const mg_connection* connection) {
    return static_cast<Listener*>(mg_get_user_data(mg_get_context(connection)));
  }

  static int Begin(mg_connection* connection) noexcept {
    return AnswerRequest(connection, Of(connection)->pages);
  }

  // In place of civetweb's log on stderr. Only its first words, at start, are of use: later it
  // reports each client that left early.
  static int Log(const mg_connection* connection, const char* message) noexcept {
    Listener* listener = Of(connection);
    if (listener != nullptr) {
      MutexLock lock(listener->mutex);
      if (listener->complaint.empty()) listener->complaint = message;
    }
    return 1;
  }

  std::string Complaint() {
    MutexLock lock(mutex);
    if (complaint.empty()) return "no reason given";
    // What it says of a host that it cannot resolve; the port was checked before.
    return absl::StrContains(complaint, "invalid port spec") ? "unknown host" : complaint;
  }
};

HttpServer::HttpServer(std::string address)
    : listener_(std::make_unique<Listener>()), address_(std::move(address)) {}

// civetweb's accepting thread looks up every two seconds, or when a connection comes: it is sent
// some, so that a server that was told to stop does not dawdle.
HttpServer::~HttpServer() {
  if (listener_->context == nullptr) return;
  std::atomic<bool> stopped = false;
  std::thread stopping([&] {
    mg_stop(listener_->context);
    stopped = true;
  });
  const std::string host = address_.substr(0, address_.rfind(':'));
  char error[64];
  while (!stopped) {
    mg_connection* nudge = mg_connect_client(host.c_str(), port_, 0, error, sizeof(error));
    if (nudge != nullptr) mg_close_connection(nudge);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stopping.join();
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpOptions& options,
                                                              HttpPages pages) {
  MLPSERVE_RETURN_IF_ERROR(CheckAddress(options.address));
  std::unique_ptr<HttpServer> server(new HttpServer(options.address));
  server->listener_->pages = std::move(pages);
  const std::string threads = absl::StrCat(options.threads);
  const std::string timeout = absl::StrCat(options.request_timeout_ms);
  const char* settings[] = {"listening_ports", options.address.c_str(), "num_threads",
                            threads.c_str(), "request_timeout_ms", timeout.c_str(),
                            "enable_keep_alive", "no",
                            // Serves no files and knows no domain: neither is to be looked for.
                            "enable_auth_domain_check", "no", nullptr};
  mg_callbacks callbacks{};
  callbacks.begin_request = &Listener::Begin;
  callbacks.log_message = &Listener::Log;
  mg_context* context = mg_start(&callbacks, server->listener_.get(), settings);
  if (context == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "HTTP address \"", options.address, "\": cannot listen: ", server->listener_->Complaint()));
  }
  server->listener_->context = context;
  mg_server_port port{};
  if (mg_get_server_ports(context, 1, &port) == 1) server->port_ = port.port;
  return server;
}

}  // namespace mlpserve
