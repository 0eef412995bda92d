#include "client/address.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace mlpserve::client {
namespace {

// gRPC's own: what follows is its affair.
constexpr const char* kSchemes[] = {"dns:", "ipv4:", "ipv6:", "unix-abstract:", "xds:"};

bool IsPort(const std::string& text) {
  int port = 0;
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit) &&
         absl::SimpleAtoi(text, &port) && port >= 1 && port <= 65535;
}

bool IsHost(const std::string& host) {
  if (absl::StartsWith(host, "[")) return absl::EndsWith(host, "]") && host.size() > 2;
  return !host.empty() && host.find_first_of(":/ []") == std::string::npos;
}

}  // namespace

std::string WhatIsWrongWithAddress(const std::string& address) {
  if (absl::StartsWith(address, "unix:") && address.size() > 5) return "";
  for (const char* scheme : kSchemes) {
    if (absl::StartsWith(address, scheme)) return "";
  }
  const size_t colon = address.rfind(':');
  if (colon != std::string::npos && IsHost(address.substr(0, colon)) &&
      IsPort(address.substr(colon + 1))) {
    return "";
  }
  return absl::StrCat("expected host:port, [IPv6]:port or unix:path, found '", address, "'");
}

}  // namespace mlpserve::client
