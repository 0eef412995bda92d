// Zeroed memory whose addresses are reserved from the start and whose pages are committed when they
// are first touched: a buffer costs what was written to it, not what it could hold. Move-only.
// Throws std::bad_alloc, as std::vector does.
#pragma once

#include <cstddef>
#include <span>

namespace mlpserve::cpu {

class ReservedMemory {
 public:
  explicit ReservedMemory(size_t bytes);  // at the start of a page
  ReservedMemory(ReservedMemory&& other) noexcept;
  ReservedMemory& operator=(ReservedMemory&& other) noexcept;
  ~ReservedMemory();

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace mlpserve::cpu
