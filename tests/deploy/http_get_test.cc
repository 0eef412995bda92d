#include "deploy/demo/http_get.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace mlpserve::demo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kTimeout = std::chrono::milliseconds(5000);

// Answers one connection with fixed bytes, in two pieces.
class OneAnswerServer {
 public:
  explicit OneAnswerServer(std::string answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    socklen_t size = sizeof(address);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~OneAnswerServer() {
    thread_.join();
    ::close(listener_);
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string request() const { return request_; }  // once the answer has come

 private:
  void Serve() {
    const int connection = ::accept(listener_, nullptr, nullptr);
    char buffer[1024];
    const ssize_t received = ::recv(connection, buffer, sizeof(buffer), 0);
    request_.assign(buffer, static_cast<size_t>(std::max<ssize_t>(received, 0)));
    const size_t half = answer_.size() / 2;
    ::send(connection, answer_.data(), half, MSG_NOSIGNAL);
    ::send(connection, answer_.data() + half, answer_.size() - half, MSG_NOSIGNAL);
    ::close(connection);
  }

  const std::string answer_;
  std::string request_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_;
};

TEST(HttpGet, ReturnsTheBody) {
  OneAnswerServer server(
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nline 1\n\r\n\r\nline 2");
  const absl::StatusOr<std::string> body = HttpGet(server.address(), "/metrics", kTimeout);
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(*body, "line 1\n\r\n\r\nline 2");
  EXPECT_THAT(server.request(), StartsWith("GET /metrics HTTP/1.0\r\n"));
}

TEST(HttpGet, AnotherStatusOrNoAnswerIsAnError) {
  for (const char* answer : {"HTTP/1.1 503 Busy\r\n\r\n", "", "HTTP/1.1 200 OK\r\n"}) {
    OneAnswerServer server(answer);
    const absl::Status status = HttpGet(server.address(), "/", kTimeout).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected HTTP status 200, found '"));
  }
}

TEST(HttpGet, AnAddressThatIsNoneOrAnswersNotIsNamed) {
  for (const char* address : {"localhost", ":80", "localhost:", ""}) {
    EXPECT_EQ(HttpGet(address, "/", kTimeout).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const absl::Status refused = HttpGet("127.0.0.1:1", "/", kTimeout).status();
  EXPECT_THAT(std::string(refused.message()), StartsWith("127.0.0.1:1: connecting failed"));
}

}  // namespace
}  // namespace mlpserve::demo
