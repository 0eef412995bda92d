#include "deploy/demo/http_get.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace mlpserve::demo {
namespace {

constexpr size_t kMaxAnswerBytes = size_t{64} << 20;

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  const int descriptor_;
};

absl::Status Failed(const std::string& address, std::string_view what, int error) {
  return absl::UnavailableError(
      absl::StrCat(address, ": ", std::string(what), ": ", std::strerror(error)));
}

absl::StatusOr<std::string> Exchange(const Socket& socket, const std::string& address,
                                     std::string_view request) {
  while (!request.empty()) {
    const ssize_t sent = ::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (sent < 0) return Failed(address, "sending failed", errno);
    request.remove_prefix(static_cast<size_t>(sent));
  }
  std::string answer;
  char buffer[16384];
  while (answer.size() < kMaxAnswerBytes) {
    const ssize_t received = ::recv(socket.get(), buffer, sizeof(buffer), 0);
    if (received == 0) return answer;
    if (received < 0) return Failed(address, "reading failed", errno);
    answer.append(buffer, static_cast<size_t>(received));
  }
  return absl::UnavailableError(absl::StrCat(address, ": expected an answer of at most 64 MiB"));
}

absl::StatusOr<std::string> BodyOf(const std::string& answer, const std::string& address,
                                   const std::string& path) {
  const std::string status_line = answer.substr(0, answer.find("\r\n"));
  const size_t headers_end = answer.find("\r\n\r\n");
  if (headers_end == std::string::npos || status_line.find(" 200") == std::string::npos) {
    return absl::UnavailableError(absl::StrCat(address, path, ": expected HTTP status 200, found '",
                                               status_line.substr(0, 80), "'"));
  }
  return answer.substr(headers_end + 4);
}

}  // namespace

absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path,
                                    std::chrono::milliseconds timeout) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) {
    return absl::InvalidArgumentError(absl::StrCat("expected host:port, found '", address, "'"));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.substr(0, colon).c_str(),
                                  address.substr(colon + 1).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat(address, ": ", ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);

  const Socket socket(::socket(found->ai_family, found->ai_socktype, found->ai_protocol));
  const timeval limit{.tv_sec = static_cast<time_t>(timeout.count() / 1000),
                      .tv_usec = static_cast<suseconds_t>(timeout.count() % 1000 * 1000)};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));  // connect, too
  if (::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0) {
    return Failed(address, "connecting failed", errno);
  }
  // HTTP/1.0: the answer is not chunked and ends with the connection.
  const absl::StatusOr<std::string> answer = Exchange(
      socket, address, absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: ", address, "\r\n\r\n"));
  if (!answer.ok()) return answer.status();
  return BodyOf(*answer, address, path);
}

}  // namespace mlpserve::demo
