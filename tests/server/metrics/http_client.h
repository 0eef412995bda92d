// A bare HTTP client over loopback, for tests that need to misbehave.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

namespace mlpserve {

// One TCP connection to 127.0.0.1:port or [::1]:port; closed at the end of its life. Reads give up
// after 20 s.
class HttpConnection {
 public:
  explicit HttpConnection(int port, int family = AF_INET);
  ~HttpConnection();
  HttpConnection(HttpConnection&& other) noexcept : socket_(other.socket_) { other.socket_ = -1; }
  HttpConnection& operator=(HttpConnection&&) = delete;

  bool connected() const { return socket_ >= 0; }
  void Send(std::string_view bytes);
  // All that comes until the server closes; what came so far if it does not.
  std::string ReadAll();

 private:
  int socket_ = -1;
};

struct HttpReply {
  int code = 0;  // 0: no answer
  std::string headers;
  std::string body;
};

HttpReply Request(int port, std::string_view method, std::string_view path, int family = AF_INET);
inline HttpReply Get(int port, std::string_view path, int family = AF_INET) {
  return Request(port, "GET", path, family);
}

}  // namespace mlpserve
