// Every bound that the gRPC server itself has: what a client can make it hold, and for how long.
// All of them are set here and nowhere else.
#pragma once

#include <chrono>
#include <cstdint>

#include "grpcpp/server_builder.h"
#include "server/transport/unread_answers.h"
#include "server/vocabulary/compression.h"

namespace mlpserve {

struct GrpcLimits {
  // More connections are closed as they come (server/net/acceptor.h).
  int64_t max_connections = 1000;
  int64_t max_connections_of_an_address = 0;  // of one IP address; 0: no such limit
  // Of a request. A longer one: RESOURCE_EXHAUSTED, by gRPC itself and uncounted if it has more
  // than twice as many. gRPC fixes it at start.
  int64_t max_message_bytes = int64_t{64} << 20;
  // Received bytes that gRPC holds for all connections together: a message is held whole before its
  // length can be refused. Near it, gRPC reads less from its connections and then closes some.
  int64_t memory_quota_bytes = int64_t{4} << 30;
  // Headers of a call, by the sum that HTTP/2 counts. Over it: RESOURCE_EXHAUSTED.
  int max_metadata_bytes = 16 << 10;
  // Calls of one connection at a time; more wait at the client.
  int max_concurrent_streams = 4096;
  // A connection that does not finish its handshake is closed.
  std::chrono::milliseconds handshake_timeout{10'000};
  // A connection without traffic is asked whether the client is still there, and closed if no
  // answer comes: without it, a client whose machine vanished would be held for ever.
  std::chrono::milliseconds keepalive_interval{60'000};
  std::chrono::milliseconds keepalive_timeout{20'000};
  // An answer that its client does not read is cancelled (unread_answers.h).
  UnreadAnswers::Options unread;
};

// Also keeps a second server from listening on the same port.
void ApplyLimits(const GrpcLimits& limits, grpc::ServerBuilder& builder);

// How answers are compressed. Messages that come compressed are left so: they are the Inflater's
// (inflater.h).
void ApplyCompression(Compression compression, grpc::ServerBuilder& builder);

// Lets the process open as many files, and so connections, as its hard limit allows. Returns the
// limit that then holds.
int64_t RaiseOpenFileLimit();

}  // namespace mlpserve
