#include "server/open_connections.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace mlpserve {
namespace {

// Closes what it is given when the test ends.
class OpenConnectionsTest : public testing::Test {
 protected:
  ~OpenConnectionsTest() override {
    for (const int descriptor : open_) close(descriptor);
  }

  int Keep(int descriptor) {
    EXPECT_GE(descriptor, 0) << std::strerror(errno);
    return open_.emplace_back(descriptor);
  }

  template <typename Address>
  int Listen(Address& address) {
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    const int listener = Keep(socket(generic->sa_family, SOCK_STREAM, 0));
    EXPECT_EQ(bind(listener, generic, sizeof(address)), 0) << std::strerror(errno);
    EXPECT_EQ(listen(listener, 8), 0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(listener, generic, &size), 0);
    return listener;
  }

  // The accepted end.
  template <typename Address>
  int Connect(int listener, const Address& address) {
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    const int client = Keep(socket(generic->sa_family, SOCK_STREAM, 0));
    EXPECT_EQ(connect(client, generic, sizeof(address)), 0) << std::strerror(errno);
    return Keep(accept(listener, nullptr, nullptr));
  }

 private:
  std::vector<int> open_;
};

sockaddr_in Loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

TEST_F(OpenConnectionsTest, CountsWhatWasAcceptedOnThePortsGivenAndNothingElse) {
  sockaddr_in ours = Loopback(), other = Loopback();
  const int listener = Listen(ours);
  const int other_listener = Listen(other);
  const std::vector<int> ports{ntohs(ours.sin_port)};
  EXPECT_EQ(CountOpenConnections(ports, {}), 0) << "the listening socket is no connection";
  Connect(listener, ours);
  Connect(listener, ours);
  Connect(other_listener, other);
  EXPECT_EQ(CountOpenConnections(ports, {}), 2);
  EXPECT_EQ(CountOpenConnections({}, {}), 0);
}

TEST_F(OpenConnectionsTest, CountsThoseOfAUnixSocket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = testing::TempDir() + "open_connections_test";
  unlink(path.c_str());
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const int listener = Listen(address);
  Connect(listener, address);
  EXPECT_EQ(CountOpenConnections({}, {path}), 1);
  EXPECT_EQ(CountOpenConnections({}, {path + "x"}), 0);
  unlink(path.c_str());
}

}  // namespace
}  // namespace mlpserve
