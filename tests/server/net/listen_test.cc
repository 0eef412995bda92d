#include "server/net/listen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "tests/server/net/loopback.h"
#include "tests/server/temporary_folder.h"

namespace mlpserve {
namespace {

using testing::HasSubstr;

bool CanConnect(int family, int port) {
  const Descriptor client(socket(family, SOCK_STREAM, 0));
  return ConnectToLoopback(client.get(), family, port);
}

absl::Status ErrorOf(const std::string& address) { return ListenSockets::Open(address).status(); }

TEST(ListenSockets, PortZeroBecomesAFreeOne) {
  const auto sockets = ListenSockets::Open("127.0.0.1:0");
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  EXPECT_GT(sockets->port(), 0);
  EXPECT_TRUE(CanConnect(AF_INET, sockets->port()));
}

TEST(ListenSockets, Ipv6IsForIpv6Alone) {
  const auto sockets = ListenSockets::Open("[::1]:0");
  if (absl::IsUnavailable(sockets.status())) GTEST_SKIP() << sockets.status();
  EXPECT_TRUE(CanConnect(AF_INET6, sockets->port()));
  EXPECT_FALSE(CanConnect(AF_INET, sockets->port()));
}

TEST(ListenSockets, EveryAddressOfTheMachineIsThoseOfBothFamilies) {
  for (const char* address : {"0.0.0.0:0", "[::]:0"}) {
    const auto sockets = ListenSockets::Open(address);
    ASSERT_TRUE(sockets.ok()) << sockets.status();
    EXPECT_TRUE(CanConnect(AF_INET, sockets->port())) << address;
  }
}

TEST(ListenSockets, AUnixSocketTakesThePlaceOfADeadOneAndLeavesNothing) {
  const TemporaryFolder folder;
  const std::string path = folder.path("socket");
  const std::string address = "unix:" + path;
  {
    const auto first = ListenSockets::Open(address);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_THAT(std::string(ErrorOf(address).message()), HasSubstr("another process listens"));
    EXPECT_TRUE(std::filesystem::exists(path)) << "the refused one removed it";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  {
    const Descriptor dead(socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  }
  EXPECT_TRUE(ListenSockets::Open(address).ok());
  folder.Write("file", "kept");
  EXPECT_THAT(std::string(ErrorOf("unix:" + folder.path("file")).message()),
              HasSubstr("no socket"));
}

TEST(ListenSockets, WhatIsNoAddressIsSaidSo) {
  for (const char* address : {"", ":", "8001", ":8001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",
                              "127.0.0.1:-1", "127.0.0.1:65536", "::1:80", "[::1:80", "unix:"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ErrorOf(address))) << address << ErrorOf(address);
    EXPECT_THAT(std::string(ErrorOf(address).message()), HasSubstr("expected host:port"));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ErrorOf("unix:/" + std::string(200, 'p'))));
  EXPECT_TRUE(absl::IsUnavailable(ErrorOf("192.0.2.1:8001")));
  EXPECT_TRUE(absl::IsUnavailable(ErrorOf("unix:/no/such/folder/socket")));
}

}  // namespace
}  // namespace mlpserve
