#include "server/transport/health.h"

#include "absl/strings/str_cat.h"
#include "proto/open_inference.grpc.pb.h"
#include "server/text/utf8.h"
#include "server/transport/watch_call.h"

namespace mlpserve {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

Health::Health(const ServingState& state, bool open) : state_(state), open_(open) {
  check_.open = open;
  check_.accept = [this](auto*... arguments) { service_.RequestCheck(arguments...); };
  check_.answer = [this](const HealthCheckRequest& request, HealthCheckResponse* response) {
    const auto status = StatusOf(request.service());
    if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
      return absl::NotFoundError(absl::StrCat("expected the service \"\" or \"",
                                              inference::GRPCInferenceService::service_full_name(),
                                              "\", found ", QuotedShort(request.service())));
    }
    response->set_status(status);
    return absl::OkStatus();
  };
}

void Health::Accept(CallQueue& queue) {
  UnaryCall<HealthCheckRequest, HealthCheckResponse>::Accept(check_, queue);
  WatchCall::Accept(*this, queue);
}

HealthCheckResponse::ServingStatus Health::StatusOf(const std::string& service) const {
  if (!service.empty() && service != inference::GRPCInferenceService::service_full_name()) {
    return HealthCheckResponse::SERVICE_UNKNOWN;
  }
  return state_.ready() ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void Health::Update() {
  MutexLock lock(mutex_);
  for (WatchCall* watch : watches_) watch->SendCurrent();
}

void Health::CloseWatches() {
  MutexLock lock(mutex_);
  closing_ = true;
  for (WatchCall* watch : watches_) {
    watch->Finish({grpc::StatusCode::UNAVAILABLE, "the server is shutting down"});
  }
  watches_.clear();
}

}  // namespace mlpserve
