#include "kernels/cpu/aligned_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace mlpserve::cpu {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = 2 << 20;

}  // namespace

void* AllocateAligned(size_t bytes) {
  const bool large = bytes >= kHugePage;
  const size_t alignment = large ? kHugePage : kCacheLine;
  const size_t padded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* memory = padded < bytes ? nullptr : std::aligned_alloc(alignment, padded);
  if (memory == nullptr) throw std::bad_alloc();
  if (large) madvise(memory, padded, MADV_HUGEPAGE);  // may fail: ordinary pages work too, slower
  return memory;
}

}  // namespace mlpserve::cpu
