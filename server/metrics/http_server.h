// The HTTP port: /metrics, /healthz, /readyz and a page for people at /.
//
//   GET /metrics   200, what Pages::metrics returns
//   GET /healthz   200 for as long as the process can answer
//   GET /readyz    200, or 503 with the reason in one line
//   GET /          200, what Pages::index returns
// Anything else is 404, another method 405; HEAD is GET without the body.
//
// civetweb does the protocol. One connection carries one request (no keep-alive), so that a scraper
// which keeps its connection open holds no thread. A connection that sends nothing, or too slowly,
// is closed after the request timeout; meanwhile it holds one of the threads. Pages run on those
// threads, several at once.
//
// Plain HTTP without authentication: meant for loopback or a private network.
#pragma once

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
  std::function<std::string()> index;       // HTML; empty: a list of the pages, as text
};

struct HttpOptions {
  std::string address = "127.0.0.1:8002";  // host:port, IPv4; port 0: any free one
  int threads = 8;               // connections served at once; more wait, a few are queued
  int request_timeout_ms = 500;  // for the request to arrive and for the answer to leave
};

class HttpServer {
 public:
  // Listens when it returns.
  // Errors, naming the address: INVALID_ARGUMENT, it is not host:port; UNAVAILABLE, it cannot be
  // listened on (in use, not an address of this host, no permission).
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpOptions& options,
                                                           HttpPages pages);

  // Stops listening, waits for the pages being served; an idle connection delays it by up to two
  // seconds, civetweb's polling interval.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }  // the one chosen, if the address said 0

 private:
  struct Listener;

  explicit HttpServer(std::string address);

  std::unique_ptr<Listener> listener_;
  const std::string address_;
  int port_ = 0;
};

}  // namespace mlpserve
