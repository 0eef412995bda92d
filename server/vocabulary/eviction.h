// Why a request left the queue without having run.
#pragma once

#include <cstdint>

namespace mlpserve {

enum class Eviction : uint8_t { kDeadline, kTimeout, kCancelled };

}  // namespace mlpserve
