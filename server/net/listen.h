// Sockets to listen on, by address: "host:port", "[host]:port" or "unix:path".
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/net/descriptor.h"

namespace mlpserve {

// What listens on one address: one socket for each address that a host's name stands for. A host
// that stands for every address of the machine (0.0.0.0 or [::]) means those of IPv6 and of IPv4,
// where the machine has both. Non-blocking; closed, and a Unix socket's path removed, at the end.
class ListenSockets {
 public:
  // Errors name the address: INVALID_ARGUMENT, it is none; UNAVAILABLE, it cannot be listened on.
  static absl::StatusOr<ListenSockets> Open(const std::string& address);

  ListenSockets(ListenSockets&& other) noexcept = default;
  ListenSockets& operator=(ListenSockets&& other) noexcept = default;
  ~ListenSockets();

  const std::vector<Descriptor>& descriptors() const { return descriptors_; }
  int port() const { return port_; }  // the one chosen, if the address said 0; 0: a Unix socket

 private:
  ListenSockets() = default;

  absl::Status OpenUnix(const std::string& address, const std::string& path);
  absl::Status OpenTcp(const std::string& address);

  std::vector<Descriptor> descriptors_;
  std::string unix_path_;
  int port_ = 0;
};

}  // namespace mlpserve
