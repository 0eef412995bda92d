#include "server/transport/unread_answers.h"

#include <map>
#include <utility>

namespace mlpserve {

UnreadAnswers::UnreadAnswers(const Options& options)
    : options_(options), thread_([this] { Run(); }) {}

UnreadAnswers::~UnreadAnswers() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void UnreadAnswers::Add(UnreadAnswer& answer, std::string connection, int64_t bytes) {
  MutexLock lock(mutex_);
  if (entries_.empty()) changed_.NotifyAll();
  entries_.push_back({.answer = &answer,
                      .connection = std::move(connection),
                      .bytes = bytes,
                      .since = Clock::now()});
  answer.unread_entry = std::prev(entries_.end());
  answer.is_followed = true;
  bytes_ += bytes;
}

void UnreadAnswers::Remove(UnreadAnswer& answer) {
  if (!answer.is_followed) return;
  MutexLock lock(mutex_);
  if (!answer.unread_entry->cancelled) bytes_ -= answer.unread_entry->bytes;
  entries_.erase(answer.unread_entry);
  answer.is_followed = false;
}

UnreadAnswers::Counts UnreadAnswers::counts() {
  MutexLock lock(mutex_);
  return {.bytes = bytes_, .cancelled = cancelled_};
}

void UnreadAnswers::Run() {
  for (;;) {
    UnreadAnswer* victim = nullptr;
    {
      MutexLock lock(mutex_);
      while (entries_.empty() && !stop_) changed_.Wait(mutex_);
      if (stop_) return;
      const auto chosen = Choose(Clock::now());
      if (chosen == entries_.end()) {
        changed_.WaitUntil(mutex_, Clock::now() + options_.interval);
        continue;
      }
      chosen->cancelled = true;
      bytes_ -= chosen->bytes;
      ++cancelled_;
      victim = chosen->answer;
      victim->KeepUnread();
    }
    // Outside of the lock: what gRPC lets go of then runs code of others.
    victim->CancelUnread();
  }
}

UnreadAnswers::Entries::iterator UnreadAnswers::Choose(TimePoint now) {
  std::map<std::string, int64_t> of_connection;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->cancelled) continue;
    if (now - entry->since >= options_.timeout) return entry;
    of_connection[entry->connection] += entry->bytes;
  }
  if (bytes_ <= options_.most_bytes) return entries_.end();
  const std::string* most = nullptr;
  for (const auto& [connection, bytes] : of_connection) {
    if (most == nullptr || bytes > of_connection[*most]) most = &connection;
  }
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->cancelled || entry->connection != *most) continue;
    return now - entry->since >= options_.patience ? entry : entries_.end();
  }
  return entries_.end();
}

}  // namespace mlpserve
