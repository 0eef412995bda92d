#include "server/net/listen.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

constexpr std::string_view kUnix = "unix:";

absl::Status Unavailable(const std::string& address, const char* reason) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", reason));
}

absl::Status Malformed(const std::string& address) {
  return absl::InvalidArgumentError(absl::StrCat(
      "expected host:port, [host]:port or unix:path as address, found \"", address, "\""));
}

// Also refuses a path that another server listens on, which bind would after it was removed.
absl::Status CheckUnixPath(const std::string& address, const std::string& path,
                           const sockaddr_un& name) {
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // A socket that nobody listens on is what a server that was killed leaves behind.
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return Unavailable(address, "another process listens there");
  }
  struct stat found {};
  if (lstat(path.c_str(), &found) == 0 && !S_ISSOCK(found.st_mode)) {
    return Unavailable(address, "the path exists and is no socket");
  }
  return absl::OkStatus();
}

struct HostAndPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostAndPort> Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Malformed(address);
  HostAndPort parts{.host = address.substr(0, colon), .port = address.substr(colon + 1)};
  uint16_t number = 0;
  const char* const end = parts.port.data() + parts.port.size();
  const auto parsed = std::from_chars(parts.port.data(), end, number);
  if (parsed.ptr != end || parsed.ec != std::errc()) return Malformed(address);
  std::string& host = parts.host;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.empty() || host.find(':') != std::string::npos) {
    return Malformed(address);
  }
  return parts;
}

bool IsWildcard(const sockaddr* name) {
  if (name->sa_family == AF_INET6) {
    return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(name)->sin6_addr);
  }
  return reinterpret_cast<const sockaddr_in*>(name)->sin_addr.s_addr == htonl(INADDR_ANY);
}

void SetPort(sockaddr* name, uint16_t port) {
  if (name->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(name)->sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in*>(name)->sin_port = htons(port);
  }
}

uint16_t PortOf(const sockaddr* name) {
  return ntohs(name->sa_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(name)->sin6_port
                                           : reinterpret_cast<const sockaddr_in*>(name)->sin_port);
}

// errno says why it is not valid.
Descriptor Listen(const sockaddr* name, socklen_t size, bool both_families) {
  Descriptor socket(::socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const int off = 0;
  if (name->sa_family != AF_UNIX) {
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  }
  if (name->sa_family == AF_INET6) {
    setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, both_families ? &off : &on, sizeof(on));
  }
  const bool listens = bind(socket.get(), name, size) == 0 && listen(socket.get(), SOMAXCONN) == 0;
  if (listens) return socket;
  const int error = errno;
  socket.Close();
  errno = error;
  return socket;
}

int PortOf(const Descriptor& socket) {
  sockaddr_storage name{};
  socklen_t size = sizeof(name);
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&name), &size);
  return PortOf(reinterpret_cast<const sockaddr*>(&name));
}

}  // namespace

absl::StatusOr<ListenSockets> ListenSockets::Open(const std::string& address) {
  ListenSockets sockets;
  if (address.compare(0, kUnix.size(), kUnix) == 0) {
    MLPSERVE_RETURN_IF_ERROR(sockets.OpenUnix(address, address.substr(kUnix.size())));
  } else {
    MLPSERVE_RETURN_IF_ERROR(sockets.OpenTcp(address));
  }
  return sockets;
}

ListenSockets::~ListenSockets() {
  if (!descriptors_.empty() && !unix_path_.empty()) unlink(unix_path_.c_str());
}

absl::Status ListenSockets::OpenUnix(const std::string& address, const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty()) return Malformed(address);
  if (path.size() >= sizeof(name.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("address ", address, ": expected a path of at most ",
                     sizeof(name.sun_path) - 1, " bytes, found ", path.size()));
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  MLPSERVE_RETURN_IF_ERROR(CheckUnixPath(address, path, name));
  unlink(path.c_str());
  Descriptor socket = Listen(reinterpret_cast<const sockaddr*>(&name), sizeof(name), false);
  if (!socket.valid()) return Unavailable(address, std::strerror(errno));
  descriptors_.push_back(std::move(socket));
  unix_path_ = path;
  return absl::OkStatus();
}

absl::Status ListenSockets::OpenTcp(const std::string& address) {
  MLPSERVE_ASSIGN_OR_RETURN(const HostAndPort parts, Split(address));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found);
      error != 0) {
    return Unavailable(address, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> names(found, &freeaddrinfo);
  if (IsWildcard(found->ai_addr)) {
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(PortOf(found->ai_addr));
    Descriptor both = Listen(reinterpret_cast<const sockaddr*>(&any), sizeof(any), true);
    if (both.valid()) {
      port_ = PortOf(both);
      descriptors_.push_back(std::move(both));
      return absl::OkStatus();
    }
  }
  for (const addrinfo* name = found; name != nullptr; name = name->ai_next) {
    if (port_ != 0) SetPort(name->ai_addr, static_cast<uint16_t>(port_));
    Descriptor socket = Listen(name->ai_addr, name->ai_addrlen, false);
    const int error = errno;
    // A name may stand for an address of a family that this machine does not have.
    const bool not_here = error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
    if (!socket.valid() && not_here && (port_ != 0 || name->ai_next != nullptr)) {
      continue;
    }
    if (!socket.valid()) return Unavailable(address, std::strerror(error));
    if (port_ == 0) port_ = PortOf(socket);
    descriptors_.push_back(std::move(socket));
  }
  return absl::OkStatus();
}

}  // namespace mlpserve
