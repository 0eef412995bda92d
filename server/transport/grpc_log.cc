#include "server/transport/grpc_log.h"

#include <string_view>

#include "grpc/support/log.h"
#include "spdlog/spdlog.h"

namespace mlpserve {
namespace {

void Log(gpr_log_func_args* message) {
  std::string_view file = message->file;
  file.remove_prefix(file.rfind('/') + 1);
  spdlog::debug("gRPC: {}:{}: {}", file, message->line, message->message);
}

}  // namespace

void RouteGrpcLog() {
  gpr_set_log_function(&Log);
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

}  // namespace mlpserve
