#include "server/transport/status.h"

#include <string>

#include "server/text/utf8.h"

namespace mlpserve {
namespace {

// The message travels in a header, where every byte that is not printable ASCII takes three; more
// than 8 KiB of headers is what many clients and proxies refuse.
constexpr size_t kMaxMessageBytes = 2048;

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::string_view message = status.message();
  return {static_cast<grpc::StatusCode>(status.code()),
          std::string(CutUtf8({message.data(), message.size()}, kMaxMessageBytes))};
}

}  // namespace mlpserve
