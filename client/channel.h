// The process's connections: as a rule one per address, shared by all clients of that address.
#pragma once

#include <memory>
#include <string>

namespace grpc {
class Channel;
}

namespace mlpserve::client {

// The channel to "host:port" or "unix:path". All who hold one at the same time share it. It
// connects with its first call. Thread-safe.
std::shared_ptr<grpc::Channel> SharedChannel(const std::string& address);

// A channel with a connection that no other channel uses, for who wants several to one address.
std::shared_ptr<grpc::Channel> OwnChannel(const std::string& address);

}  // namespace mlpserve::client
