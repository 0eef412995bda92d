// mlpserve-fake: the server whole, around a backend that only takes its time: for measure.py.
//
// usage: mlpserve-fake REPOSITORY GRPC_ADDRESS HTTP_ADDRESS inline|threads BATCH_US ROW_US
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "server/metrics/metrics.h"
#include "server/server.h"
#include "server/signals.h"
#include "server/transport/grpc_limits.h"
#include "tests/server/engine/fake_backend.h"

namespace mlpserve {
namespace {

FakeBackend::Options BackendOf(const std::string& mode, int64_t batch_us, int64_t row_us) {
  FakeBackend::Options options;
  options.mode = mode == "inline" ? FakeMode::kInline : FakeMode::kThreads;
  options.run_time = std::chrono::microseconds(batch_us);
  options.row_time = std::chrono::microseconds(row_us);
  for (int64_t rows = 1; rows <= 256; rows *= 2) {
    options.batch_times.push_back({rows, options.run_time + rows * options.row_time});
  }
  return options;
}

int Run(char** argv) {
  Metrics metrics({});
  StopRequests stop;
  const StopSignals signals([&stop] { stop.Ask(StopReason::kAsked); });
  RaiseOpenFileLimit();
  ChosenBackend chosen;
  chosen.backend =
      std::make_unique<FakeBackend>(BackendOf(argv[4], std::atoll(argv[5]), std::atoll(argv[6])));
  auto server = Server::Start(
      {.model_repository = argv[1], .grpc_addresses = {argv[2]}, .http_address = argv[3]},
      std::move(chosen), metrics, stop);
  if (!server.ok()) {
    std::fprintf(stderr, "mlpserve-fake: %s\n", std::string(server.status().message()).c_str());
    return 2;
  }
  (*server)->Run();
  return 0;
}

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) {
  if (argc == 7) return mlpserve::Run(argv);
  std::fprintf(stderr,
               "usage: %s REPOSITORY GRPC_ADDRESS HTTP_ADDRESS inline|threads BATCH_US ROW_US\n",
               argv[0]);
  return 2;
}
