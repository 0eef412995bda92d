#include "client/load/lane.h"

#include <utility>

#include "kernels/status/status_macros.h"

namespace mlpserve::load {

Lane::Lane(const Traffic& traffic, size_t index, grpc::CompletionQueue& queue)
    : exchange(traffic.streaming
                   ? NewStreamExchange(traffic.connections.stub(index), queue)
                   : NewUnaryExchange(traffic.connections.stub(index), queue, traffic.deadline)) {}

void Lane::Send(const Traffic& traffic, size_t index, Clock::time_point since) {
  request = index % traffic.requests.size();
  from = since;
  exchange->Send(traffic.requests.message(request), this);
}

absl::Status Lane::Judge(const Traffic& traffic) const {
  absl::Status status = exchange->status();
  if (!status.ok() || traffic.expected == nullptr) return status;
  inference::ModelInferResponse answer;
  if (!exchange->ParseAnswer(answer)) {
    return absl::DataLossError("expected a ModelInferResponse, found bytes that are none");
  }
  MLPSERVE_RETURN_IF_ERROR(traffic.requests.TakeOutputs(request, answer));
  return traffic.expected->Check(std::move(answer), traffic.requests.first_row(request),
                                 traffic.requests.rows());
}

}  // namespace mlpserve::load
