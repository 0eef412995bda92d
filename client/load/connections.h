// Connections of the load tester's own to one server.
#pragma once

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mlpserve::load {

class Connections {
 public:
  // UNAVAILABLE: not all of them stood after `wait`.
  static absl::StatusOr<Connections> Open(const std::string& address, int count,
                                          std::chrono::milliseconds wait);

  // Takes turns: `index` may be any number of 0 or more.
  grpc::GenericStub& stub(size_t index) const { return *stubs_[index % stubs_.size()]; }

 private:
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
};

}  // namespace mlpserve::load
