#include "server/transport/token_check.h"

#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "spdlog/spdlog.h"

namespace mlpserve {
namespace {

constexpr std::chrono::seconds kReadInterval{1};
constexpr absl::string_view kScheme = "Bearer ";

bool Equal(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TokenCheck>> TokenCheck::Open(const std::string& path) {
  std::unique_ptr<TokenCheck> check(new TokenCheck(path));
  if (path.empty()) return check;
  MLPSERVE_ASSIGN_OR_RETURN(Tokens tokens, check->Read());
  MutexLock lock(check->mutex_);
  check->tokens_ = std::make_shared<const Tokens>(std::move(tokens));
  check->read_at_ = Clock::now();
  return check;
}

absl::StatusOr<TokenCheck::Tokens> TokenCheck::Read() const {
  Tokens tokens;
  std::ifstream file(path_);
  if (!file) return absl::InvalidArgumentError(absl::StrCat("cannot read the tokens of ", path_));
  for (std::string line; std::getline(file, line);) {
    const absl::string_view token = absl::StripAsciiWhitespace(line);
    if (!token.empty()) tokens.emplace_back(token);
  }
  if (!tokens.empty()) return tokens;
  return absl::InvalidArgumentError(
      absl::StrCat("expected a token on each line of ", path_, ", found none"));
}

std::shared_ptr<const TokenCheck::Tokens> TokenCheck::Current() {
  MutexLock lock(mutex_);
  if (Clock::now() - read_at_ < kReadInterval) return tokens_;
  read_at_ = Clock::now();
  absl::StatusOr<Tokens> read = Read();
  if (read.ok()) {
    tokens_ = std::make_shared<const Tokens>(*std::move(read));
  } else {
    spdlog::warn("tokens stay as they are: {}", std::string(read.status().message()));
  }
  return tokens_;
}

absl::Status TokenCheck::Check(const grpc::ServerContext& context) {
  if (path_.empty()) return absl::OkStatus();
  const auto& metadata = context.client_metadata();
  const auto [first, last] = metadata.equal_range("authorization");
  if (first == last) {
    return absl::UnauthenticatedError("expected \"authorization: Bearer TOKEN\", found none");
  }
  const std::shared_ptr<const Tokens> tokens = Current();
  for (auto entry = first; entry != last; ++entry) {
    absl::string_view sent(entry->second.data(), entry->second.size());
    if (!absl::StartsWithIgnoreCase(sent, kScheme)) continue;
    sent.remove_prefix(kScheme.size());
    for (const std::string& token : *tokens) {
      if (Equal(sent, token)) return absl::OkStatus();
    }
  }
  return absl::UnauthenticatedError("the token is not one that this server takes");
}

}  // namespace mlpserve
