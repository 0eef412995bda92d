// Zeroed memory of a fixed size at the start of a cache line; where it is large, on huge pages if
// the system gives them: reading weights on ordinary ones waits for their addresses. Throws
// std::bad_alloc, as std::vector does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

namespace mlpserve::cpu {

// Not zeroed; to be given to std::free.
void* AllocateAligned(size_t bytes);

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_destructible_v<T>, "elements are not destroyed");

 public:
  explicit AlignedBuffer(int64_t size)
      : size_(size),
        data_(static_cast<T*>(AllocateAligned(static_cast<size_t>(size) * sizeof(T)))) {
    std::uninitialized_fill_n(data_.get(), size, T{});
  }

  int64_t size() const { return size_; }
  T* get() { return data_.get(); }
  const T* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };

  int64_t size_;
  std::unique_ptr<T, Free> data_;
};

}  // namespace mlpserve::cpu
