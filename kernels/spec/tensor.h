// The numbers of a tensor in the format of the file that they come from: the weight of a layer. A
// tensor says how many there are and in which format, and reads any range of them when asked, in
// that format or as FP32. It holds no numbers itself: whoever needs them reads them piece by piece
// into memory of its own, as large as it likes, so that no second copy of the weights is anywhere
// and the pages of that memory are touched once.
//
// Copies share the source. Threads: any; several may read at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/spec/datatype.h"

namespace mlpserve {

// Where a tensor's bytes are: in a file, in memory.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // Fills `to` with the bytes from `offset` on, all of which the tensor has. Called from several
  // threads at once. Errors: UNAVAILABLE, they cannot be read; what `to` holds is unspecified then.
  virtual absl::Status Read(int64_t offset, std::span<std::byte> to) const = 0;
};

class Tensor {
 public:
  Tensor() = default;                 // no numbers
  Tensor(std::vector<float> values);  // NOLINT(google-explicit-constructor): numbers are a tensor
  Tensor(std::initializer_list<float> values) : Tensor(std::vector<float>(values)) {}
  // `size` numbers of `type`, little-endian.
  Tensor(DataType type, int64_t size, std::shared_ptr<const TensorSource> source)
      : type_(type), size_(size), source_(std::move(source)) {}

  DataType type() const { return type_; }
  int64_t size() const { return size_; }  // numbers
  int64_t bytes() const { return size_ * static_cast<int64_t>(ByteSize(type_)); }
  bool empty() const { return size_ == 0; }

  // Bytes from `offset` on, in the tensor's own format. Errors are the source's, here and below.
  absl::Status ReadBytes(int64_t offset, std::span<std::byte> to) const;
  // Number `first` and the following ones as FP32, which holds each exactly.
  absl::Status Read(int64_t first, std::span<float> to) const;
  // All of them.
  absl::StatusOr<std::vector<float>> ToFloats() const;

 private:
  DataType type_ = DataType::kFp32;
  int64_t size_ = 0;
  std::shared_ptr<const TensorSource> source_;  // null: `size_` is 0
};

}  // namespace mlpserve
