#include "client/load/connections.h"

#include <grpcpp/channel.h>

#include "absl/strings/str_cat.h"
#include "client/channel.h"

namespace mlpserve::load {

absl::StatusOr<Connections> Connections::Open(const std::string& address, int count,
                                              std::chrono::milliseconds wait) {
  const auto deadline = std::chrono::system_clock::now() + wait;
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < count; ++i) {
    channels.push_back(client::OwnChannel(address));
    channels.back()->GetState(/*try_to_connect=*/true);
  }
  Connections connections;
  for (const auto& channel : channels) {
    if (!channel->WaitForConnected(deadline)) {
      return absl::UnavailableError(absl::StrCat("expected ", count, " connections to ", address,
                                                 " within ", wait.count(), " ms, found ",
                                                 connections.stubs_.size()));
    }
    connections.stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
  }
  return connections;
}

}  // namespace mlpserve::load
