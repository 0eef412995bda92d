// The form of a server's address, as every program of ours takes it.
#pragma once

#include <string>

namespace mlpserve::client {

// What is wrong with the address, in one line that says what was expected; empty if nothing is.
// Taken are host:port, [IPv6]:port, unix:path, and gRPC's own names with a scheme (dns:, ipv4:,
// ...).
std::string WhatIsWrongWithAddress(const std::string& address);

}  // namespace mlpserve::client
