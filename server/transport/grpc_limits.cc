#include "server/transport/grpc_limits.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

#include "grpc/compression.h"
#include "grpc/impl/codegen/grpc_types.h"
#include "grpcpp/resource_quota.h"

namespace mlpserve {
namespace {

int Milliseconds(std::chrono::milliseconds duration) { return static_cast<int>(duration.count()); }

}  // namespace

void ApplyLimits(const GrpcLimits& limits, grpc::ServerBuilder& builder) {
  constexpr int64_t kMaxInt = std::numeric_limits<int>::max();
  // gRPC holds a message whole before it refuses it, and then counts nothing and names no flag:
  // what is not much too long is refused by InferWork.
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min(2 * limits.max_message_bytes, kMaxInt)));
  builder.SetMaxSendMessageSize(-1);  // a response's size follows from its request's

  grpc::ResourceQuota quota("mlpserve");
  quota.Resize(static_cast<size_t>(limits.memory_quota_bytes));
  builder.SetResourceQuota(quota);

  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, limits.max_metadata_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             Milliseconds(limits.handshake_timeout));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);

  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(limits.keepalive_interval));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(limits.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // gRPC counts pings that come too often, and ends the connection for them with all its calls:
  // a client that only wants to know whether a slow answer will still come would lose it. A ping
  // costs less than a request does.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
}

void ApplyCompression(Compression compression, grpc::ServerBuilder& builder) {
  // An algorithm that is not enabled is refused by gRPC, in words that name no flag.
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, true);
  }
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  if (compression == Compression::kNone) {
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
    return;
  }
  // A level asks what the client takes, which an algorithm does not: gzip is the lower one.
  builder.SetDefaultCompressionLevel(compression == Compression::kGzip ? GRPC_COMPRESS_LEVEL_LOW
                                                                       : GRPC_COMPRESS_LEVEL_HIGH);
}

int64_t RaiseOpenFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  return static_cast<int64_t>(
      std::min<rlim_t>(limit.rlim_cur, std::numeric_limits<int64_t>::max()));
}

}  // namespace mlpserve
