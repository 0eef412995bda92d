// How many clients are connected to the gRPC server. gRPC tells nobody; the kernel knows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mlpserve {

// Counts this process's sockets that were accepted on one of `ports` (TCP, any host) or under one
// of `unix_paths`. Opens nothing and keeps nothing: it asks the kernel about each open file, about
// a microsecond each, so it is for a scrape and not for a request. Thread-safe. Files that open or
// close meanwhile may be counted or not.
int64_t CountOpenConnections(const std::vector<int>& ports,
                             const std::vector<std::string>& unix_paths);

}  // namespace mlpserve
