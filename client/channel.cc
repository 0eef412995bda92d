#include "client/channel.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <limits>
#include <map>

#include "absl/base/attributes.h"
#include "absl/synchronization/mutex.h"

namespace mlpserve::client {
namespace {

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address, bool own_connection) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, own_connection ? 1 : 0);
  arguments.SetMaxReceiveMessageSize(std::numeric_limits<int>::max());
  arguments.SetMaxSendMessageSize(std::numeric_limits<int>::max());
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

std::shared_ptr<grpc::Channel> SharedChannel(const std::string& address) {
  ABSL_CONST_INIT static absl::Mutex mutex(absl::kConstInit);
  static auto& channels = *new std::map<std::string, std::weak_ptr<grpc::Channel>>;

  absl::MutexLock lock(&mutex);
  std::shared_ptr<grpc::Channel> channel = channels[address].lock();
  if (channel == nullptr) {
    for (auto entry = channels.begin(); entry != channels.end();) {  // only live ones are kept
      entry = entry->second.expired() ? channels.erase(entry) : std::next(entry);
    }
    channel = NewChannel(address, /*own_connection=*/false);
    channels[address] = channel;
  }
  return channel;
}

std::shared_ptr<grpc::Channel> OwnChannel(const std::string& address) {
  return NewChannel(address, /*own_connection=*/true);
}

}  // namespace mlpserve::client
