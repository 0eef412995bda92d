#include "server/metrics/http_server.h"

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/metrics/http_client.h"

namespace mlpserve {
namespace {

using testing::HasSubstr;
using testing::Not;

HttpPages Pages() {
  return {.metrics = [] { return std::string("up 1\n"); },
          .readiness = [] { return absl::OkStatus(); }};
}

constexpr size_t kLarge = 20'000'000;

std::string LargePage() {
  std::string page;
  page.resize(kLarge, 'x');
  return page;
}

std::unique_ptr<HttpServer> Started(HttpPages pages, HttpOptions options = {}) {
  options.address = "127.0.0.1:0";
  auto server = HttpServer::Start(options, std::move(pages));
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

TEST(HttpServer, PortZeroIsReplacedByTheOneChosen) {
  const auto server = Started(Pages());
  ASSERT_NE(server, nullptr);
  EXPECT_GT(server->port(), 0);
  EXPECT_EQ(Get(server->port(), "/healthz").code, 200);
}

TEST(HttpServer, ServesMetricsAsPrometheusText) {
  const auto server = Started(Pages());
  const HttpReply reply = Get(server->port(), "/metrics");
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(reply.body, "up 1\n");
  EXPECT_THAT(reply.headers,
              HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_EQ(Get(server->port(), "/metrics?name=x").body, "up 1\n");
}

TEST(HttpServer, IndexNamesThePages) {
  const auto server = Started(Pages());
  const HttpReply reply = Get(server->port(), "/");
  EXPECT_EQ(reply.code, 200);
  EXPECT_THAT(reply.body, HasSubstr("/metrics"));
  EXPECT_THAT(reply.body, HasSubstr("/readyz"));
}

TEST(HttpServer, AnIndexOfOnesOwnIsHtmlThatLoadsNothingElse) {
  HttpPages pages = Pages();
  pages.index = [] { return "<p>index"; };
  const auto server = Started(pages);
  const HttpReply reply = Get(server->port(), "/");
  EXPECT_EQ(reply.body, "<p>index");
  EXPECT_THAT(reply.headers, HasSubstr("Content-Type: text/html; charset=utf-8\r\n"));
  EXPECT_THAT(reply.headers, HasSubstr("Content-Security-Policy: default-src 'none'"));
}

TEST(HttpServer, ReadinessFollowsItsSourceAndGivesTheReasonInOneLine) {
  std::atomic<bool> ready = false;
  HttpPages pages = Pages();
  pages.readiness = [&] {
    return ready ? absl::OkStatus() : absl::UnavailableError("block \"digits\":\nis loading");
  };
  const auto server = Started(std::move(pages));
  const HttpReply unready = Get(server->port(), "/readyz");
  EXPECT_EQ(unready.code, 503);
  EXPECT_EQ(unready.body, "not ready: block \"digits\": is loading\n");
  EXPECT_EQ(Get(server->port(), "/healthz").code, 200) << "alive though not ready";
  ready = true;
  EXPECT_EQ(Get(server->port(), "/readyz").code, 200);
}

TEST(HttpServer, UnknownPathsAreNotFound) {
  const auto server = Started(Pages());
  for (const char* path : {"/nope", "/metrics/", "/metricsx", "/%2e%2e/etc/passwd", "/../x"}) {
    EXPECT_EQ(Get(server->port(), path).code, 404) << path;
  }
}

TEST(HttpServer, OtherMethodsAreNotAllowed) {
  const auto server = Started(Pages());
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    const HttpReply reply = Request(server->port(), method, "/metrics");
    EXPECT_EQ(reply.code, 405) << method;
    EXPECT_THAT(reply.headers, HasSubstr("Allow: GET, HEAD\r\n")) << method;
  }
}

TEST(HttpServer, HeadIsGetWithoutTheBody) {
  const auto server = Started(Pages());
  const HttpReply reply = Request(server->port(), "HEAD", "/metrics");
  EXPECT_EQ(reply.code, 200);
  EXPECT_THAT(reply.headers, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_EQ(reply.body, "");
}

TEST(HttpServer, AnswersBytesThatAreNoHttpAndServesOn) {
  const auto server = Started(Pages());
  HttpConnection connection(server->port());
  connection.Send("\x16\x03\x01 this is no HTTP\r\n\r\n");
  EXPECT_THAT(connection.ReadAll(), Not(HasSubstr("200 OK")));
  EXPECT_EQ(Get(server->port(), "/healthz").code, 200);
}

TEST(HttpServer, SendsALargePageWhole) {
  HttpPages pages = Pages();
  pages.metrics = &LargePage;
  const auto server = Started(std::move(pages));
  EXPECT_EQ(Get(server->port(), "/metrics").body.size(), kLarge);
}

TEST(HttpServer, ServesManyScrapersAtOnce) {
  const auto server = Started(Pages());
  std::atomic<int> good = 0;
  std::vector<std::thread> scrapers;
  scrapers.reserve(16);
  for (int t = 0; t < 16; ++t) {
    scrapers.emplace_back([&] {
      for (int i = 0; i < 20; ++i) good += Get(server->port(), "/metrics").body == "up 1\n";
    });
  }
  for (std::thread& scraper : scrapers) scraper.join();
  EXPECT_EQ(good, 16 * 20);
}

// A probe must not wait for anybody else's connection.
TEST(HttpServer, ProbesAreAnsweredAtOnceWhileHundredsOfConnectionsAreIdleOrSlow) {
  const auto server = Started(Pages(), {.idle_timeout = std::chrono::seconds(120)});
  std::vector<HttpConnection> idle;
  idle.reserve(300);
  for (int i = 0; i < 300; ++i) {
    idle.emplace_back(server->port());
    if (i % 3 != 0) idle.back().Send(i % 3 == 1 ? "GET /metrics HT" : "G");
  }
  for (int i = 0; i < 20; ++i) {
    const auto asked = std::chrono::steady_clock::now();
    EXPECT_EQ(Get(server->port(), "/healthz").code, 200);
    EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(1));
  }
}

TEST(HttpServer, AnIdleConnectionIsClosedAfterTheTimeout) {
  const auto server = Started(Pages(), {.idle_timeout = std::chrono::seconds(1)});
  HttpConnection idle(server->port());
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(idle.ReadAll(), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST(HttpServer, MoreConnectionsThanAllowedAreClosedAndTheRestServed) {
  const auto server = Started(Pages(), {.max_connections = 8});
  std::vector<HttpConnection> open;
  open.reserve(20);
  for (int i = 0; i < 20; ++i) open.emplace_back(server->port());
  EXPECT_EQ(HttpConnection(server->port()).ReadAll(), "");
  open.clear();
  int code = 0;  // the server needs a moment to see that they are gone
  for (int i = 0; i < 1000 && code != 200; ++i) code = Get(server->port(), "/healthz").code;
  EXPECT_EQ(code, 200);
}

TEST(HttpServer, AClientThatLeavesOrDoesNotReadDisturbsNobody) {
  HttpPages pages = Pages();
  pages.metrics = &LargePage;
  const auto server = Started(std::move(pages), {.threads = 2});
  HttpConnection does_not_read(server->port());
  does_not_read.Send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (int i = 0; i < 4; ++i) {
    HttpConnection(server->port()).Send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }
  EXPECT_EQ(Get(server->port(), "/healthz").code, 200);
}

TEST(HttpServer, TheProtocolsOwnPathsOfHealthAndBlocksAreAnswered) {
  HttpPages pages = Pages();
  pages.model_readiness = [](const std::string& name, const std::string& version) -> absl::Status {
    if (name == "loading") return absl::UnavailableError("block \"loading\" is loading");
    if (name != "digits" || (!version.empty() && version != "1")) {
      return absl::NotFoundError("no block \"" + name + "\"");
    }
    return absl::OkStatus();
  };
  const auto server = Started(std::move(pages));
  const auto code = [&](const char* path) { return Get(server->port(), path).code; };
  EXPECT_EQ(code("/v2/health/live"), 200);
  EXPECT_EQ(code("/v2/health/ready"), 200);
  EXPECT_EQ(code("/v2/models/digits/ready"), 200);
  EXPECT_EQ(code("/v2/models/digits/versions/1/ready"), 200);
  EXPECT_EQ(code("/v2/models/digits/versions/2/ready"), 404);
  EXPECT_EQ(code("/v2/models/loading/ready"), 503);
  EXPECT_THAT(Get(server->port(), "/v2/models/loading/ready").body, HasSubstr("is loading"));
  for (const char* path : {"/v2/models/none/ready", "/v2/models//ready", "/v2/models/ready",
                           "/v2/models/digits", "/v2/models/digits/versions//ready", "/v2"}) {
    EXPECT_EQ(code(path), 404) << path;
  }
}

TEST(HttpServer, ListensOnIpv6) {
  const auto server = HttpServer::Start({.address = "[::1]:0"}, Pages());
  if (absl::IsUnavailable(server.status())) GTEST_SKIP() << server.status();
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Get((*server)->port(), "/healthz", AF_INET6).code, 200);
}

TEST(HttpServer, StopsWhileConnectionsAreOpen) {
  auto server = Started(Pages());
  const int port = server->port();
  HttpConnection idle(port);
  HttpConnection half(port);
  half.Send("GET /met");
  server.reset();
  EXPECT_FALSE(HttpConnection(port).connected());
}

TEST(HttpServer, APortInUseIsAnErrorThatNamesTheAddress) {
  const auto server = Started(Pages());
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  const auto second = HttpServer::Start({.address = address}, Pages());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use"));
}

TEST(HttpServer, AnAddressOfAnotherHostIsAnErrorThatNamesIt) {
  const auto server = HttpServer::Start({.address = "192.0.2.1:8002"}, Pages());
  EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("192.0.2.1:8002"));
}

TEST(HttpServer, AHostThatDoesNotExistIsAnErrorThatNamesIt) {
  for (const char* address : {"+:80", "[zz]:80", "no-such-host.invalid:80"}) {
    const auto server = HttpServer::Start({.address = address}, Pages());
    EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable) << address;
    EXPECT_THAT(std::string(server.status().message()), HasSubstr(address));
  }
}

TEST(HttpServer, AnythingButHostAndPortIsRefused) {
  for (const char* address :
       {"", ":", "8002", ":8002", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:80s",
        "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:99999999999", "127.0.0.1:80,0.0.0.0:81",
        "[::1:80", "::1:80", "http://127.0.0.1:80"}) {
    const auto server = HttpServer::Start({.address = address}, Pages());
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(server.status().message()), HasSubstr("expected host:port"));
    EXPECT_THAT(std::string(server.status().message()), HasSubstr(address));
  }
}

}  // namespace
}  // namespace mlpserve
