// Zeroed memory of a fixed size at the start of a cache line. Throws std::bad_alloc, as std::vector
// does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

namespace mlpserve::cpu {

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_destructible_v<T>, "elements are not destroyed");

 public:
  explicit AlignedBuffer(int64_t size)
      : size_(size),
        data_(static_cast<T*>(::operator new(static_cast<size_t>(size) * sizeof(T), kAlignment))) {
    std::uninitialized_fill_n(data_.get(), size, T{});
  }

  int64_t size() const { return size_; }
  T* get() { return data_.get(); }
  const T* get() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(T* data) const { ::operator delete(data, kAlignment); }
  };

  int64_t size_;
  std::unique_ptr<T, Delete> data_;
};

}  // namespace mlpserve::cpu
