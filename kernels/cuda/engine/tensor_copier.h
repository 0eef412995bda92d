// Brings tensors from where they are read to the device: several threads read pieces of a tensor
// into page-locked memory, and each reads its next piece while the last one travels.
//
// Threads: one at a time. Holds 32 MiB of host memory from the first large tensor on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/spec/tensor.h"

namespace mlpserve::cuda {

class TensorCopier {
 public:
  // Copies all of the tensor's bytes to `to` on the calling thread's device, and waits.
  // Errors: the source's; RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, the device is lost.
  absl::Status Copy(const Tensor& tensor, void* to);

 private:
  static constexpr int kPieces = 2;  // of a carrier: one is filled while the other travels

  // What one thread copies with.
  struct Carrier {
    PinnedMemory pieces;
    Stream stream;
    std::vector<Event> travelled;  // of each piece
  };

  // Pieces of one tensor, given out one after the other.
  class Work;

  absl::Status AddCarriers();
  static absl::Status Carry(const Carrier& carrier, Work& work);

  std::vector<Carrier> carriers_;
};

}  // namespace mlpserve::cuda
