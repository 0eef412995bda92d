#include "server/open_connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace mlpserve {
namespace {

// A socket's own address. An accepted one has that of the socket that listened.
struct LocalAddress {
  int port = -1;  // of TCP
  std::string path;
};

LocalAddress AddressOf(int descriptor) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  if (storage.ss_family == AF_INET || storage.ss_family == AF_INET6) {
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    sockaddr_in tcp;
    std::memcpy(&tcp, &storage, sizeof(tcp));
    return {.port = ntohs(tcp.sin_port), .path = {}};
  }
  if (storage.ss_family != AF_UNIX) return {};
  sockaddr_un named;
  std::memcpy(&named, &storage, sizeof(named));
  return {.path = std::string(named.sun_path, strnlen(named.sun_path, sizeof(named.sun_path)))};
}

bool Listens(int descriptor) {
  int listens = 0;
  socklen_t size = sizeof(listens);
  getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
  return listens != 0;
}

template <typename Value>
bool Contains(const std::vector<Value>& values, const Value& wanted) {
  return std::find(values.begin(), values.end(), wanted) != values.end();
}

}  // namespace

int64_t CountOpenConnections(const std::vector<int>& ports,
                             const std::vector<std::string>& unix_paths) {
  int64_t count = 0;
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  for (; !error && files != std::filesystem::directory_iterator(); files.increment(error)) {
    const std::string name = files->path().filename().string();
    int descriptor = -1;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    const LocalAddress local = AddressOf(descriptor);
    const bool ours = (local.port > 0 && Contains(ports, local.port)) ||
                      (!local.path.empty() && Contains(unix_paths, local.path));
    if (ours && !Listens(descriptor)) ++count;
  }
  return count;
}

}  // namespace mlpserve
