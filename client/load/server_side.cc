#include "client/load/server_side.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "client/channel.h"
#include "proto/open_inference.grpc.pb.h"

namespace mlpserve::load {
namespace {

std::chrono::nanoseconds Sum(const inference::StatisticDuration& duration) {
  return std::chrono::nanoseconds(duration.ns());
}

// User and system time in ticks of a process' stat file: fields 14 and 15, counted behind the name,
// which may hold spaces and brackets.
std::optional<double> TicksOf(const std::string& stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  if (!(fields >> user >> system)) return std::nullopt;
  return user + system;
}

}  // namespace

absl::StatusOr<ServerCounters> ReadCounters(const std::string& address, const std::string& model,
                                            const std::string& version,
                                            std::chrono::milliseconds deadline) {
  const auto stub = inference::GRPCInferenceService::NewStub(client::SharedChannel(address));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + deadline);
  inference::ModelStatisticsRequest request;
  request.set_name(model);
  request.set_version(version);
  inference::ModelStatisticsResponse response;
  const grpc::Status status = stub->ModelStatistics(&context, request, &response);
  if (!status.ok()) {
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  }
  ServerCounters counters;
  for (const inference::ModelStatistics& one : response.model_stats()) {
    const inference::InferStatistics& times = one.inference_stats();
    counters.requests += times.success().count();
    counters.batches += one.execution_count();
    counters.rows += one.inference_count();
    counters.queue += Sum(times.queue());
    counters.compute +=
        Sum(times.compute_input()) + Sum(times.compute_infer()) + Sum(times.compute_output());
  }
  return counters;
}

std::optional<ServerSplit> Split(const ServerCounters& before, const ServerCounters& after) {
  if (after.requests <= before.requests || after.batches <= before.batches ||
      after.rows < before.rows || after.queue < before.queue || after.compute < before.compute) {
    return std::nullopt;
  }
  const auto requests = static_cast<double>(after.requests - before.requests);
  const auto batches = static_cast<double>(after.batches - before.batches);
  const std::chrono::duration<double, std::micro> queue = after.queue - before.queue;
  const std::chrono::duration<double, std::micro> compute = after.compute - before.compute;
  return ServerSplit{queue.count() / requests, compute.count() / requests,
                     static_cast<double>(after.rows - before.rows) / batches};
}

absl::StatusOr<double> CpuSeconds(const std::vector<int>& pids) {
  double ticks = 0;
  for (const int pid : pids) {
    std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
    const std::optional<double> one =
        TicksOf(std::string(std::istreambuf_iterator<char>(file), {}));
    if (!one) {
      return absl::NotFoundError(
          absl::StrCat("expected a process ", pid, " on this machine, found none"));
    }
    ticks += *one;
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace mlpserve::load
