#include "tests/server/metrics/http_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/server/net/loopback.h"

namespace mlpserve {

HttpConnection::HttpConnection(int port, int family) : socket_(socket(family, SOCK_STREAM, 0)) {
  const timeval patience{.tv_sec = 20, .tv_usec = 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (!ConnectToLoopback(socket_, family, port)) {
    close(socket_);
    socket_ = -1;
  }
}

HttpConnection::~HttpConnection() {
  if (socket_ >= 0) close(socket_);
}

void HttpConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string HttpConnection::ReadAll() {
  std::string all;
  char piece[65536];
  for (;;) {
    const ssize_t got = recv(socket_, piece, sizeof(piece), 0);
    if (got <= 0) return all;
    all.append(piece, static_cast<size_t>(got));
  }
}

HttpReply Request(int port, std::string_view method, std::string_view path, int family) {
  HttpConnection connection(port, family);
  if (!connection.connected()) return {};
  connection.Send(std::string(method) + " " + std::string(path) +
                  " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const std::string answer = connection.ReadAll();
  const size_t end = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 ") || end == std::string::npos) return {};
  return {.code = std::atoi(answer.c_str() + 9),
          .headers = answer.substr(0, end + 2),
          .body = answer.substr(end + 4)};
}

}  // namespace mlpserve
