// The body of an http:// page on this or a near machine, such as /metrics. No redirects, no TLS.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

namespace mlpserve::demo {

// `address` is "host:port". Blocks for at most `timeout` between two pieces of the answer, of which
// it takes 64 MiB at most. Errors name the address: INVALID_ARGUMENT, no host:port; UNAVAILABLE,
// not reached, no answer in time, or another status than 200.
absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path,
                                    std::chrono::milliseconds timeout);

}  // namespace mlpserve::demo
