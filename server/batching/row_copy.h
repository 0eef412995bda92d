// Copies a range of bytes that lies in pieces, as messages arrive, into one place.
#pragma once

#include <cstddef>
#include <span>

namespace mlpserve {

size_t TotalBytes(std::span<const std::span<const std::byte>> pieces);

// Copies bytes offset .. offset + to.size() - 1 of the pieces, read one after the other, to `to`.
// The pieces hold that many.
void CopyBytes(std::span<const std::span<const std::byte>> pieces, size_t offset,
               std::span<std::byte> to);

}  // namespace mlpserve
