// Device memory of another process, which gave a handle to it (cudaIpcGetMemHandle).
//
// Its owner may free it at any time, and CUDA then leaves open what becomes of a copy from or to
// it: whoever opens it trusts the owner.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

namespace mlpserve::cuda {

struct CloseIpc {
  void operator()(void* memory) const;
};

class IpcMemory {
 public:
  // On the calling thread's device, which must be that of the memory. Errors: INVALID_ARGUMENT, it
  // is no handle, or none that this process can open; UNAVAILABLE, the device is lost.
  static absl::StatusOr<IpcMemory> Open(std::string_view handle);

  std::byte* get() const { return static_cast<std::byte*>(memory_.get()); }
  size_t size() const { return size_; }  // of the whole allocation

 private:
  std::unique_ptr<void, CloseIpc> memory_;
  size_t size_ = 0;
};

}  // namespace mlpserve::cuda
