// Who may call: with a file of tokens, only who sends one of them as "authorization: Bearer TOKEN".
//
// The file has a token on each line, so that a new one can be given out before the old one is taken
// back; it is read again within a second of its change. A file that cannot be read then, or has no
// token, leaves those that were read before.
//
// Threads: all functions are thread-safe. Tokens are compared in a time that does not depend on
// where they differ.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class TokenCheck {
 public:
  // An empty path: everybody may call. Errors: INVALID_ARGUMENT, naming the file: it cannot be read
  // or has no token.
  static absl::StatusOr<std::unique_ptr<TokenCheck>> Open(const std::string& path);

  // UNAUTHENTICATED, unless the call brings a token.
  absl::Status Check(const grpc::ServerContext& context);

 private:
  using Tokens = std::vector<std::string>;

  explicit TokenCheck(std::string path) : path_(std::move(path)) {}

  absl::StatusOr<Tokens> Read() const;
  std::shared_ptr<const Tokens> Current();

  const std::string path_;
  Mutex mutex_;
  std::shared_ptr<const Tokens> tokens_ ABSL_GUARDED_BY(mutex_);
  TimePoint read_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mlpserve
