// Accepts connections on sockets of our own and hands them on, so that nothing that happens to the
// process keeps it from accepting: no more connections than it has descriptors for are let in, and
// where descriptors run out all the same, connections are closed at once and accepting goes on.
// (gRPC 1.51's own listener stops for good then: CVE-2023-4785.)
//
// What it is not: it reads nothing and writes nothing. A connection belongs to whom it was given;
// here it is only counted, by asking the kernel whether the descriptor is still that socket.
//
// Threads: one of its own; everything else may be called on any thread. Bounds: max_connections,
// and an entry of memory for each descriptor number.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/net/descriptor.h"
#include "server/net/listen.h"
#include "server/sync/mutex.h"

namespace mlpserve {

class Acceptor {
 public:
  struct Options {
    int64_t max_connections = 1000;             // more are closed as they come
    int64_t max_connections_of_an_address = 0;  // the same for one IP address; 0: no such limit
    // Sent data that is not acknowledged so long ends its connection: the peer's machine is gone.
    std::chrono::milliseconds unacknowledged_timeout{20'000};
  };
  struct Refused {
    int64_t limit = 0;        // max_connections
    int64_t address = 0;      // max_connections_of_an_address
    int64_t descriptors = 0;  // none was left
  };

  // Called on the acceptor's thread.
  struct Handlers {
    std::function<void(int descriptor)> take;  // owns the connection from here on
    // Some were refused, and why, in words; at most once in ten seconds. May be empty.
    std::function<void(const char* reason)> on_refused;
  };

  Acceptor(const Options& options, std::vector<ListenSockets> sockets, Handlers handlers);
  ~Acceptor();  // Stop
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Closes the sockets; no handler is called any more. May be called twice.
  void Stop();

  int64_t max_connections() const { return options_.max_connections; }
  int64_t CountOpen() ABSL_LOCKS_EXCLUDED(mutex_);
  Refused refused() const;
  // UNAVAILABLE with the reason, if a connection that came now, or within the last second, was or
  // would be refused by what concerns all.
  absl::Status CanAccept() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Clock = std::chrono::steady_clock;

  // The connection that had a descriptor when it was accepted.
  struct Connection {
    ino_t inode = 0;  // of its socket; 0: none
    std::string address;
  };
  enum class Verdict : uint8_t { kWelcome, kLimit, kAddress };

  void Run();
  void AcceptFrom(int listener);
  void RefuseForDescriptors(int listener);
  void Admit(int descriptor);
  void Refuse(std::atomic<int64_t>& count, const char* reason);
  bool IsFull() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return open_ >= options_.max_connections;
  }
  bool HasTooMany(const std::string& address) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Verdict Judge(const std::string& address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Enter(int descriptor, Connection connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(Connection& connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetClosed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const Handlers handlers_;
  std::vector<ListenSockets> sockets_;
  const Descriptor wake_;
  Descriptor reserve_;  // given up to accept, and close, when no other descriptor is left
  std::atomic<bool> stop_{false};
  Clock::time_point complained_ = Clock::now() - std::chrono::hours(1);  // of the thread
  std::atomic<int64_t> refused_limit_{0};
  std::atomic<int64_t> refused_address_{0};
  std::atomic<int64_t> refused_descriptors_{0};

  Mutex mutex_;
  std::vector<Connection> connections_ ABSL_GUARDED_BY(mutex_);  // by descriptor
  std::map<std::string, int64_t> of_address_ ABSL_GUARDED_BY(mutex_);
  int64_t open_ ABSL_GUARDED_BY(mutex_) = 0;  // of connections_; closed ones until looked at
  Clock::time_point no_descriptors_ ABSL_GUARDED_BY(mutex_) =
      Clock::now() - std::chrono::hours(1);  // when there were none last
  std::thread thread_;                       // last: it uses all the others
};

}  // namespace mlpserve
