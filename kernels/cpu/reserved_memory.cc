#include "kernels/cpu/reserved_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <utility>

namespace mlpserve::cpu {

ReservedMemory::ReservedMemory(size_t bytes) {
  const size_t size = std::max<size_t>(bytes, 1);
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // A huge page would commit 2 MiB for the first row. Failing is no error: there are none then.
  madvise(memory, size, MADV_NOHUGEPAGE);
  bytes_ = {static_cast<std::byte*>(memory), size};
}

ReservedMemory::ReservedMemory(ReservedMemory&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})) {}

ReservedMemory& ReservedMemory::operator=(ReservedMemory&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

ReservedMemory::~ReservedMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

}  // namespace mlpserve::cpu
