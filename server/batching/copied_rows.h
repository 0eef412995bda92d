// Results that were copied because the output buffers ran low, and their lease. For turn.cc only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>

#include "server/vocabulary/request.h"

namespace mlpserve {

// One allocation: this, followed by the bytes. `total` counts the bytes of all that are out, and
// must outlive them; it is the last thing that a lease touches.
class CopiedRows {
 public:
  static OutputRows Make(std::span<const std::byte> rows, std::atomic<int64_t>& total) {
    void* const memory = ::operator new(sizeof(CopiedRows) + rows.size());
    auto* const copied = new (memory) CopiedRows(total, static_cast<int64_t>(rows.size()));
    auto* const bytes = reinterpret_cast<std::byte*>(copied + 1);
    std::memcpy(bytes, rows.data(), rows.size());
    total.fetch_add(copied->size_, std::memory_order_relaxed);
    return {.bytes = {bytes, rows.size()}, .lease = OutputLease(&Release, copied)};
  }

 private:
  CopiedRows(std::atomic<int64_t>& total, int64_t size) : total_(&total), size_(size) {}

  static void Release(void* memory) {
    auto* const copied = static_cast<CopiedRows*>(memory);
    std::atomic<int64_t>* const total = copied->total_;
    const int64_t size = copied->size_;
    ::operator delete(memory);
    total->fetch_sub(size, std::memory_order_release);
  }

  std::atomic<int64_t>* total_;
  int64_t size_;
};

}  // namespace mlpserve
