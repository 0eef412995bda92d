// How messages are compressed on their way, as gRPC names it.
#pragma once

#include <cstdint>

namespace mlpserve {

enum class Compression : uint8_t { kNone, kGzip, kDeflate };

}  // namespace mlpserve
