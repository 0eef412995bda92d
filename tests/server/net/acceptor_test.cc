#include "server/net/acceptor.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/server/net/loopback.h"

namespace mlpserve {
namespace {

using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

template <typename Condition>
bool Eventually(Condition condition) {
  for (const auto limit = Clock::now() + std::chrono::seconds(10); Clock::now() < limit;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return condition();
}

class AcceptorTest : public testing::Test {
 protected:
  void Start(const Acceptor::Options& options) {
    auto opened = ListenSockets::Open("127.0.0.1:0");
    ASSERT_TRUE(opened.ok()) << opened.status();
    port_ = opened->port();
    std::vector<ListenSockets> sockets;
    sockets.push_back(*std::move(opened));
    acceptor_ = std::make_unique<Acceptor>(options, std::move(sockets),
                                           Acceptor::Handlers{.take = [this](int descriptor) {
                                             const std::lock_guard<std::mutex> lock(mutex_);
                                             taken_.emplace_back(descriptor);
                                           }});
  }
  void TearDown() override { acceptor_.reset(); }

  Descriptor Connect() const {
    Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    EXPECT_TRUE(ConnectToLoopback(client.get(), AF_INET, port_));
    return client;
  }
  // The peer has closed it, and not only kept silent.
  static bool IsClosed(const Descriptor& client) {
    char byte;
    return recv(client.get(), &byte, 1, 0) <= 0 && errno != EAGAIN;
  }
  size_t Taken() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return taken_.size();
  }
  void CloseTaken() {
    const std::lock_guard<std::mutex> lock(mutex_);
    taken_.clear();
  }

  int port_ = 0;
  std::mutex mutex_;
  std::vector<Descriptor> taken_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, EveryConnectionIsHandedOnAndCountedUntilItIsClosed) {
  Start({});
  std::vector<Descriptor> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(Connect());
  EXPECT_TRUE(Eventually([&] { return Taken() == 20; }));
  EXPECT_EQ(acceptor_->CountOpen(), 20);
  CloseTaken();
  EXPECT_EQ(acceptor_->CountOpen(), 0);
}

TEST_F(AcceptorTest, MoreThanTheLimitAreClosedAndCountedUntilOneLeaves) {
  Start({.max_connections = 3});
  std::vector<Descriptor> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(Connect());
  EXPECT_TRUE(Eventually([&] { return Taken() == 3; }));
  EXPECT_THAT(std::string(acceptor_->CanAccept().message()), HasSubstr("--max-connections"));
  errno = 0;
  EXPECT_TRUE(IsClosed(Connect()));
  EXPECT_EQ(acceptor_->refused().limit, 1);
  CloseTaken();
  EXPECT_TRUE(acceptor_->CanAccept().ok());
  const Descriptor welcome = Connect();
  EXPECT_TRUE(Eventually([&] { return Taken() == 1; }));
}

TEST_F(AcceptorTest, OneAddressCannotTakeThemAll) {
  Start({.max_connections_of_an_address = 2});
  const Descriptor first = Connect();
  const Descriptor second = Connect();
  EXPECT_TRUE(Eventually([&] { return Taken() == 2; }));
  errno = 0;
  EXPECT_TRUE(IsClosed(Connect()));
  EXPECT_EQ(acceptor_->refused().address, 1);
  EXPECT_TRUE(acceptor_->CanAccept().ok()) << "others are welcome";
  CloseTaken();
  const Descriptor again = Connect();
  EXPECT_TRUE(Eventually([&] { return Taken() == 1; }));
}

// Takes every descriptor that the process may still have.
class AllDescriptors {
 public:
  AllDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{.rlim_cur = 256, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (;;) {
      Descriptor taken(open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!taken.valid()) break;
      taken_.push_back(std::move(taken));
    }
  }
  ~AllDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  void GiveBack() { taken_.clear(); }

 private:
  rlimit before_{};
  std::vector<Descriptor> taken_;
};

TEST_F(AcceptorTest, WithoutDescriptorsConnectionsAreClosedAndItGoesOnWhenThereAreSome) {
  Start({});
  std::vector<Descriptor> clients;
  for (int i = 0; i < 5; ++i) {
    clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  AllDescriptors all;
  for (const Descriptor& client : clients) {
    EXPECT_TRUE(ConnectToLoopback(client.get(), AF_INET, port_));
  }
  EXPECT_TRUE(Eventually([&] { return acceptor_->refused().descriptors == 5; }));
  EXPECT_THAT(std::string(acceptor_->CanAccept().message()), HasSubstr("descriptors"));
  EXPECT_EQ(Taken(), 0);
  all.GiveBack();
  const auto given_back = Clock::now();
  const Descriptor client = Connect();
  EXPECT_TRUE(Eventually([&] { return Taken() == 1; }));
  EXPECT_LT(Clock::now() - given_back, std::chrono::seconds(1));
  EXPECT_TRUE(Eventually([&] { return acceptor_->CanAccept().ok(); }));
}

TEST_F(AcceptorTest, AfterStopNobodyListens) {
  Start({});
  acceptor_->Stop();
  acceptor_->Stop();
  EXPECT_FALSE(acceptor_->CanAccept().ok());
  const Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_FALSE(ConnectToLoopback(client.get(), AF_INET, port_));
}

}  // namespace
}  // namespace mlpserve
