// The buffers of a lane by name. A plan says which of them a layer reads and writes and how large
// each has to be; the memory is a lane's.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

enum class Buffer : uint8_t {
  kWireInput,    // rows as they come
  kInput,        // rows as the first layer reads them, where that is not the same
  kBetweenEven,  // results of layers 0, 2, 4, ... but for the last one
  kBetweenOdd,   // and of the others
  kWireOutput,   // results of the last layer, as they leave
  kUnfinished,   // a product in FP32 that a pass of its own finishes
  kSplitRows,    // rows of x in two parts for each number (tf32_terms.cuh)
  kPartials,     // GemmArgs::partials
  kArrivals,     // GemmArgs::arrivals: zero before and after every launch
  kWorkspace,    // cuBLASLt's
  kMoments,      // StatisticsArgs::parts
  kNormColumns,  // vectors of norms that kernels write (NormPlan::columns_offset)
};
inline constexpr size_t kBuffers = 12;

// A size in bytes for each buffer; 0: it is not needed.
class BufferBytes {
 public:
  int64_t& operator[](Buffer buffer) { return bytes_[static_cast<size_t>(buffer)]; }
  int64_t operator[](Buffer buffer) const { return bytes_[static_cast<size_t>(buffer)]; }

  // Makes each buffer at least as large as the other's.
  void Cover(const BufferBytes& other) {
    for (size_t i = 0; i < kBuffers; ++i) bytes_[i] = std::max(bytes_[i], other.bytes_[i]);
  }
  int64_t total() const { return std::accumulate(bytes_.begin(), bytes_.end(), int64_t{0}); }

 private:
  std::array<int64_t, kBuffers> bytes_{};
};

// Rows of `features` values, [rows, features], that begin at the start of a buffer.
struct RowsPlan {
  Buffer buffer = Buffer::kWireInput;
  int64_t features = 0;
  int64_t stride = 0;  // elements from row to row
  DataType type = DataType::kFp32;

  int64_t bytes(int64_t rows) const { return rows * stride * static_cast<int64_t>(ByteSize(type)); }
  // Whether every row starts at a multiple of 16 bytes.
  bool is_aligned() const { return bytes(1) % 16 == 0; }
};

inline int64_t RoundUp(int64_t value, int64_t multiple) {
  return CeilDivide(value, multiple) * multiple;
}

// The least stride with which each row starts at a multiple of 16 bytes.
inline int64_t AlignedStride(int64_t columns, DataType type) {
  return RoundUp(columns, 16 / static_cast<int64_t>(ByteSize(type)));
}

// Elements from one of an epilogue's vectors to the next: EpilogueArgs::columns_stride.
inline int64_t ColumnsStride(int64_t outputs) { return RoundUp(outputs, 8); }

}  // namespace mlpserve::cuda
