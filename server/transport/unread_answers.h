// The answers that gRPC has and their clients have not read: what bounds what a client can make the
// server hold by not reading.
//
// An answer that is unread for Options::timeout is cancelled. So is, while all of them together
// hold more than Options::most_bytes, the oldest of the connection that holds most, once it is
// older than Options::patience: a client that reads is not disturbed by one that does not.
// Small answers (up to kCopiedRowsBytes of rows) are not followed: they lie in messages of their
// own, and the calls of a connection bound them.
//
// Threads: one of its own, which sleeps while there are no answers; all functions are thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

// A call whose answer is being sent.
class UnreadAnswer {
 public:
  // Called between Add and Remove: the object lives until CancelUnread, which follows.
  virtual void KeepUnread() = 0;
  // Ends the call, on any thread; Remove comes as it does for an answer that was read.
  virtual void CancelUnread() = 0;

  // Used by UnreadAnswers alone.
  struct Entry {
    UnreadAnswer* answer = nullptr;
    std::string connection;
    int64_t bytes = 0;
    TimePoint since;
    bool cancelled = false;
  };
  std::list<Entry>::iterator unread_entry;
  bool is_followed = false;

 protected:
  ~UnreadAnswer() = default;
};

class UnreadAnswers {
 public:
  struct Options {
    Duration timeout = std::chrono::seconds(30);
    Duration patience = std::chrono::seconds(1);
    int64_t most_bytes = int64_t{128} << 20;
    Duration interval = std::chrono::milliseconds(200);  // between two looks at them
  };
  struct Counts {
    int64_t bytes = 0;      // unread at this moment
    int64_t cancelled = 0;  // answers, since start
  };

  explicit UnreadAnswers(const Options& options);
  ~UnreadAnswers();  // after the last Remove
  UnreadAnswers(const UnreadAnswers&) = delete;
  UnreadAnswers& operator=(const UnreadAnswers&) = delete;

  // Before it is given to gRPC. `connection` is what its context calls peer().
  void Add(UnreadAnswer& answer, std::string connection, int64_t bytes);
  // When it was sent, or never will be. Does nothing if it was not added.
  void Remove(UnreadAnswer& answer);

  Counts counts();

 private:
  using Entries = std::list<UnreadAnswer::Entry>;

  void Run();
  // The next to cancel, if there is one.
  Entries::iterator Choose(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Mutex mutex_;
  CondVar changed_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);    // the oldest first
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of those that are not cancelled
  int64_t cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all the others
};

}  // namespace mlpserve
