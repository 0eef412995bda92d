// Memory that a client shares with the server, as requests use it.
//
// Thread-safe. The client may read, write and cut it short at any time: that fails what uses it
// then, and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve {

class SharedRegion {
 public:
  virtual ~SharedRegion() = default;

  // The bytes from `offset` on, which the caller knows to lie within the region. Errors say what
  // was expected and what was found: INVALID_ARGUMENT, the memory is no longer there;
  // RESOURCE_EXHAUSTED, the system has no memory left behind it.
  virtual absl::Status Read(uint64_t offset, std::span<std::byte> to) const = 0;
  virtual absl::Status Write(uint64_t offset, std::span<const std::byte> from) const = 0;
};

// Opens memory of a client on a GPU by the bytes of its cudaIpcMemHandle_t; what has it, has a CUDA
// backend.
using OpenCudaRegion = std::function<absl::StatusOr<std::unique_ptr<SharedRegion>>(
    const std::string& handle, int64_t device, uint64_t bytes)>;

}  // namespace mlpserve
