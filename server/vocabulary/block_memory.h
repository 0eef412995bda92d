// What a loaded block holds at one moment, in bytes.
#pragma once

#include <cstdint>

namespace mlpserve {

struct BlockMemory {
  int64_t weights = 0;           // on the host
  int64_t buffers = 0;           // slots and outputs, as far as batches have filled them
  int64_t buffers_reserved = 0;  // the same with every one full: addresses, not memory
  int64_t device = 0;            // on all devices together
};

}  // namespace mlpserve
