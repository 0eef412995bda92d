// Connections to this machine itself, for tests of what listens.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

namespace mlpserve {

// Connects a TCP socket of the family, AF_INET or AF_INET6, to 127.0.0.1 or ::1. False: nobody
// listens there.
inline bool ConnectToLoopback(int socket, int family, int port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<uint16_t>(port));
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (family == AF_INET) {
    return connect(socket, reinterpret_cast<const sockaddr*>(&v4), sizeof(v4)) == 0;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = v4.sin_port;
  v6.sin6_addr = in6addr_loopback;
  return connect(socket, reinterpret_cast<const sockaddr*>(&v6), sizeof(v6)) == 0;
}

}  // namespace mlpserve
