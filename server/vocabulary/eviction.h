// Why a request was dropped before it was answered: its time was up, or its client left.
#pragma once

#include <cstdint>

namespace mlpserve {

enum class Eviction : uint8_t { kDeadline, kTimeout, kCancelled };

}  // namespace mlpserve
