#include "server/transport/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

class Socket {
 public:
  explicit Socket(int family) : descriptor_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int get() const { return descriptor_; }

 private:
  const int descriptor_;
};

absl::Status Unavailable(const std::string& address, std::string_view reason) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address, ": ", std::string(reason)));
}

absl::Status Malformed(const std::string& address) {
  return absl::InvalidArgumentError(absl::StrCat(
      "expected host:port, [host]:port or unix:path as address, found \"", address, "\""));
}

absl::Status CheckUnixPath(const std::string& address, const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty()) return Malformed(address);
  if (path.size() >= sizeof(name.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("address ", address, ": expected a path of at most ",
                     sizeof(name.sun_path) - 1, " bytes, found ", path.size()));
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  const Socket socket(AF_UNIX);
  // A socket that nobody listens on is what a server that was killed leaves behind.
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return Unavailable(address, "another process listens there");
  }
  struct stat found {};
  if (lstat(path.c_str(), &found) == 0 && !S_ISSOCK(found.st_mode)) {
    return Unavailable(address, "the path exists and is no socket");
  }
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (access(folder.c_str(), W_OK | X_OK) != 0) return Unavailable(address, std::strerror(errno));
  return absl::OkStatus();
}

absl::Status CheckBind(const std::string& address, const addrinfo& name) {
  const Socket socket(name.ai_family);
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket.get(), name.ai_addr, name.ai_addrlen) == 0) return absl::OkStatus();
  return Unavailable(address, std::strerror(errno));
}

absl::Status CheckTcp(const std::string& address, std::string host, const std::string& port) {
  uint16_t number = 0;
  const char* const end = port.data() + port.size();
  const auto parsed = std::from_chars(port.data(), end, number);
  if (parsed.ptr != end || parsed.ec != std::errc()) return Malformed(address);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.empty() || host.find(':') != std::string::npos) {
    return Malformed(address);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return Unavailable(address, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> names(found, &freeaddrinfo);
  for (const addrinfo* name = found; name != nullptr; name = name->ai_next) {
    MLPSERVE_RETURN_IF_ERROR(CheckBind(address, *name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckListenAddress(const std::string& address) {
  constexpr std::string_view kUnix = "unix:";
  if (address.compare(0, kUnix.size(), kUnix) == 0) {
    return CheckUnixPath(address, address.substr(kUnix.size()));
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Malformed(address);
  return CheckTcp(address, address.substr(0, colon), address.substr(colon + 1));
}

}  // namespace mlpserve
