// gRPC's own log in ours.
#pragma once

namespace mlpserve {

// From now on gRPC's messages go to spdlog, at debug level whatever gRPC calls them: most of its
// errors are what one client did wrong, which that client is told, and any client could fill the
// log with them. For the whole process.
void RouteGrpcLog();

}  // namespace mlpserve
