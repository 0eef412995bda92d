// The process's connections: one per address, shared by all clients of that address.
#pragma once

#include <memory>
#include <string>

namespace grpc {
class Channel;
}

namespace mlpserve::client {

// The channel to "host:port" or "unix:path": an existing one, or a new one, which lives as long as
// somebody holds it. Connects with the first call. Thread-safe.
std::shared_ptr<grpc::Channel> SharedChannel(const std::string& address);

}  // namespace mlpserve::client
