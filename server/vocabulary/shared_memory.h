// Which memory of its clients the server reads rows from and writes results to.
#pragma once

#include <cstdint>

namespace mlpserve {

enum class SharedMemory : uint8_t { kOff, kSystem, kCuda, kAll };

inline bool OffersSystem(SharedMemory offered) {
  return offered == SharedMemory::kSystem || offered == SharedMemory::kAll;
}
inline bool OffersCuda(SharedMemory offered) {
  return offered == SharedMemory::kCuda || offered == SharedMemory::kAll;
}

// Regions that are registered, or were and are still in use. Each holds a file open.
inline constexpr int64_t kMostSharedRegions = 256;

}  // namespace mlpserve
