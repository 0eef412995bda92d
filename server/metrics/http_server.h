// The HTTP port: /metrics, health, readiness, and a page for people at /.
//
//   GET /metrics                        200, what Pages::metrics returns
//   GET /healthz, /v2/health/live       200 for as long as the process can answer
//   GET /readyz, /v2/health/ready       200, or 503 with the reason in one line
//   GET /v2/models/NAME/ready           200, 503 with the reason, or 404: there is no such block
//   GET /v2/models/NAME/versions/V/ready   the same of one version
//   GET /                               200, what Pages::index returns
// Anything else is 404, another method 405; HEAD is GET without the body.
//
// libmicrohttpd does the protocol: a few threads, each with an event loop, so that a peer who is
// slow or sends nothing holds a connection and never a thread. One connection carries one request
// (no keep-alive). A connection on which nothing moves for idle_timeout is closed. Pages run on
// those threads, several at once.
//
// Plain HTTP without authentication: meant for loopback or a private network.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve {

struct HttpPages {
  std::function<std::string()> metrics;     // the Prometheus text format, version 0.0.4
  std::function<absl::Status()> readiness;  // OK: ready; else the message is shown
  // Of a block's version, or of the one that serves where `version` is empty. NOT_FOUND: 404.
  std::function<absl::Status(const std::string& name, const std::string& version)> model_readiness;
  std::function<std::string()> index;  // HTML; empty: a list of the pages, as text
};

struct HttpOptions {
  std::string address = "127.0.0.1:8002";  // "host:port" or "[host]:port"; port 0: any free one
  int threads = 4;                         // event loops
  std::chrono::seconds idle_timeout{5};
  int64_t max_connections = 1000;  // more are closed as they come
};

class HttpServer {
 public:
  // Listens when it returns.
  // Errors, naming the address: INVALID_ARGUMENT, it is not host:port; UNAVAILABLE, it cannot be
  // listened on (in use, not an address of this host, no permission).
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpOptions& options,
                                                           HttpPages pages);

  // Stops listening, waits for the pages being made, closes every connection.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;  // the one chosen, if the address said 0

 private:
  struct Daemons;

  explicit HttpServer(std::unique_ptr<Daemons> daemons);

  const std::unique_ptr<Daemons> daemons_;
};

}  // namespace mlpserve
