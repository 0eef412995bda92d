#include "server/batching/row_copy.h"

#include <algorithm>
#include <cstring>

namespace mlpserve {

size_t TotalBytes(std::span<const std::span<const std::byte>> pieces) {
  size_t total = 0;
  for (const auto& piece : pieces) total += piece.size();
  return total;
}

void CopyBytes(std::span<const std::span<const std::byte>> pieces, size_t offset,
               std::span<std::byte> to) {
  for (const auto& piece : pieces) {
    if (to.empty()) return;
    if (offset >= piece.size()) {
      offset -= piece.size();
      continue;
    }
    const size_t count = std::min(piece.size() - offset, to.size());
    std::memcpy(to.data(), piece.data() + offset, count);
    to = to.subspan(count);
    offset = 0;
  }
}

}  // namespace mlpserve
