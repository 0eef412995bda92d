// Where to listen: "host:port", "[host]:port" or "unix:path".
#pragma once

#include <string>

#include "absl/status/status.h"

namespace mlpserve {

// Whether `address` is well-formed and free at this moment. gRPC itself logs why it cannot listen
// and returns nothing; it also takes over the path of a Unix socket that another server listens on.
// Errors name the address: INVALID_ARGUMENT, it is none; UNAVAILABLE, it cannot be listened on.
absl::Status CheckListenAddress(const std::string& address);

}  // namespace mlpserve
