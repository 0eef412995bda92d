#include "server/net/acceptor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mlpserve {
namespace {

constexpr int kBatch = 64;  // connections of one socket before the next has its turn
constexpr std::chrono::milliseconds kRetry{20};
constexpr std::chrono::seconds kRecently{1};
constexpr std::chrono::seconds kComplaintInterval{10};

Descriptor OpenReserve() { return Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// 0 if the descriptor is no socket.
ino_t InodeOf(int descriptor) {
  struct stat found {};
  if (fstat(descriptor, &found) != 0 || !S_ISSOCK(found.st_mode)) return 0;
  return found.st_ino;
}

// Bytes that are the same for all connections of one host; empty for a Unix socket. Of IPv6 the
// network's half, since a host has all of the other.
std::string AddressOf(const sockaddr_storage& name) {
  if (name.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(name).sin_addr;
    return {reinterpret_cast<const char*>(&address), sizeof(address)};
  }
  if (name.ss_family != AF_INET6) return "";
  const auto& address = reinterpret_cast<const sockaddr_in6&>(name).sin6_addr;
  const char* const bytes = reinterpret_cast<const char*>(&address);
  if (IN6_IS_ADDR_V4MAPPED(&address)) return {bytes + 12, 4};
  return {bytes, 8};
}

void SetOptions(int descriptor, int unacknowledged_ms) {
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
             sizeof(unacknowledged_ms));
}

bool OutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

Acceptor::Acceptor(const Options& options, std::vector<ListenSockets> sockets, Handlers handlers)
    : options_(options),
      handlers_(std::move(handlers)),
      sockets_(std::move(sockets)),
      wake_(eventfd(0, EFD_CLOEXEC)),
      reserve_(OpenReserve()),
      thread_([this] { Run(); }) {}

Acceptor::~Acceptor() { Stop(); }

void Acceptor::Stop() {
  if (stop_.exchange(true)) return;
  const uint64_t one = 1;
  // Cannot fail: nobody else adds to it.
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
  thread_.join();
  sockets_.clear();
}

void Acceptor::Run() {
  std::vector<pollfd> waiting;
  waiting.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
  for (const ListenSockets& sockets : sockets_) {
    for (const Descriptor& socket : sockets.descriptors()) {
      waiting.push_back({.fd = socket.get(), .events = POLLIN, .revents = 0});
    }
  }
  while (!stop_) {
    poll(waiting.data(), waiting.size(), -1);
    for (size_t i = 1; i < waiting.size() && !stop_; ++i) {
      if (waiting[i].revents != 0) AcceptFrom(waiting[i].fd);
    }
  }
}

void Acceptor::AcceptFrom(int listener) {
  for (int i = 0; i < kBatch; ++i) {
    const int descriptor = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) {
      Admit(descriptor);
    } else if (OutOfResources(errno)) {
      return RefuseForDescriptors(listener);
    } else if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO) {
      return;  // nobody is left in the queue
    }
  }
}

// Who waits is told at once; left in the queue, he would wait without knowing, and poll() would
// return for him again and again.
void Acceptor::RefuseForDescriptors(int listener) {
  {
    MutexLock lock(mutex_);
    no_descriptors_ = Clock::now();
  }
  if (!reserve_.valid()) reserve_ = OpenReserve();
  reserve_.Close();
  Descriptor refused(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (refused.valid()) {
    Refuse(refused_descriptors_, "file descriptors have run out");
  } else {  // another thread of the process was faster
    std::this_thread::sleep_for(kRetry);
  }
  refused.Close();
  reserve_ = OpenReserve();
}

void Acceptor::Refuse(std::atomic<int64_t>& count, const char* reason) {
  count.fetch_add(1, std::memory_order_relaxed);
  const Clock::time_point now = Clock::now();
  if (!handlers_.on_refused || now - complained_ < kComplaintInterval) return;
  complained_ = now;
  handlers_.on_refused(reason);
}

void Acceptor::Admit(int descriptor) {
  Descriptor connection(descriptor);
  sockaddr_storage name{};
  socklen_t size = sizeof(name);
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&name), &size) != 0) return;  // it left
  std::string address = AddressOf(name);
  Verdict verdict;
  {
    MutexLock lock(mutex_);
    verdict = Judge(address);
    if (verdict == Verdict::kWelcome) {
      Enter(descriptor, {.inode = InodeOf(descriptor), .address = std::move(address)});
    }
  }
  if (verdict == Verdict::kLimit) return Refuse(refused_limit_, "there are too many");
  if (verdict == Verdict::kAddress) return Refuse(refused_address_, "one address has too many");
  if (name.ss_family != AF_UNIX) {
    SetOptions(descriptor, static_cast<int>(options_.unacknowledged_timeout.count()));
  }
  handlers_.take(connection.Release());
}

bool Acceptor::HasTooMany(const std::string& address) const {
  if (address.empty() || options_.max_connections_of_an_address <= 0) return false;
  const auto found = of_address_.find(address);
  return found != of_address_.end() && found->second >= options_.max_connections_of_an_address;
}

Acceptor::Verdict Acceptor::Judge(const std::string& address) {
  if (IsFull() || HasTooMany(address)) ForgetClosed();
  if (IsFull()) return Verdict::kLimit;
  return HasTooMany(address) ? Verdict::kAddress : Verdict::kWelcome;
}

void Acceptor::Enter(int descriptor, Connection connection) {
  const auto index = static_cast<size_t>(descriptor);
  if (index >= connections_.size()) connections_.resize(index + 1);
  Leave(connections_[index]);  // its descriptor is used again, so it was closed
  ++open_;
  if (!connection.address.empty()) ++of_address_[connection.address];
  connections_[index] = std::move(connection);
}

void Acceptor::Leave(Connection& connection) {
  if (connection.inode == 0) return;
  --open_;
  const auto of_address = of_address_.find(connection.address);
  if (of_address != of_address_.end() && --of_address->second == 0) of_address_.erase(of_address);
  connection = {};
}

void Acceptor::ForgetClosed() {
  for (size_t i = 0; i < connections_.size(); ++i) {
    Connection& connection = connections_[i];
    if (connection.inode != 0 && InodeOf(static_cast<int>(i)) != connection.inode) {
      Leave(connection);
    }
  }
}

int64_t Acceptor::CountOpen() {
  MutexLock lock(mutex_);
  ForgetClosed();
  return open_;
}

Acceptor::Refused Acceptor::refused() const {
  return {.limit = refused_limit_.load(std::memory_order_relaxed),
          .address = refused_address_.load(std::memory_order_relaxed),
          .descriptors = refused_descriptors_.load(std::memory_order_relaxed)};
}

absl::Status Acceptor::CanAccept() {
  if (stop_) return absl::UnavailableError("the server does not listen any more");
  MutexLock lock(mutex_);
  if (Clock::now() - no_descriptors_ < kRecently) {
    return absl::UnavailableError("file descriptors have run out: connections are refused");
  }
  if (IsFull()) ForgetClosed();
  if (!IsFull()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("all ", options_.max_connections,
                                             " connections (--max-connections) are in use"));
}

}  // namespace mlpserve
