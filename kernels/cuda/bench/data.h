// Device memory of one problem: x, y, and as many copies of the weights as keep them out of L2.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/bench/arithmetic.h"
#include "kernels/cuda/bench/check.h"
#include "kernels/cuda/bench/in_turn.h"
#include "kernels/cuda/bench/kernel.h"

namespace mlpserve::bench {

constexpr size_t kGuardBytes = 1 << 16;

// Device memory of one problem. y is followed by a guard that nothing may write.
class Data {
 public:
  explicit Data(const Problem& p) : problem_(p) {
    const size_t bytes = p.element_bytes();
    const size_t w_bytes = size_t(p.n) * p.x_stride() * bytes;
    const int copies = ColdCopies(w_bytes);
    x_ = Allocate(size_t(p.m) * p.x_stride() * bytes);
    FillNormal(x_, p.format(), p.m, p.k, p.x_stride(), 9, 1);
    for (int i = 0; i < copies; i++) {
      weights_.push_back(Allocate(w_bytes));
      FillNormal(weights_.back(), p.format(), p.n, p.k, p.x_stride(), i + 1,
                 1 / std::sqrt(float(p.k)));
    }
    if (p.compute == Compute::kFp32) {
      const int64_t x_stride = cuda::SplitStrideOfX(p.k), w_stride = cuda::SplitStrideOfW(p.k);
      split_x_ = static_cast<float*>(Allocate(size_t(p.m) * x_stride * bytes));
      SplitTf32({x_, p.format(), p.m, p.k, p.x_stride()}, true, split_x_, x_stride);
      for (void* weight : weights_) {
        split_weights_.push_back(static_cast<float*>(Allocate(size_t(p.n) * w_stride * bytes)));
        SplitTf32({weight, p.format(), p.n, p.k, p.x_stride()}, false, split_weights_.back(),
                  w_stride);
      }
    }
    y_bytes_ = size_t(p.m) * p.y_stride() * bytes;
    y_ = Allocate(y_bytes_ + kGuardBytes);
    second_y_ = Allocate(y_bytes_ + kGuardBytes);
    input_ = Allocate(y_bytes_);
    FillNormal(input_, p.format(), p.m, p.n, p.y_stride(), 77, 1);
    columns_stride_ = (p.n + 7) / 8 * 8;
    columns_ = static_cast<float*>(Allocate(2 * columns_stride_ * sizeof(float)));
    FillNormal(columns_, Format::kFp32, 1, p.n, columns_stride_, 50, 0.2f, 1);
    FillNormal(columns_ + columns_stride_, Format::kFp32, 1, p.n, columns_stride_, 51, 0.5f);
    BENCH_CHECK(cudaDeviceSynchronize());
  }
  ~Data() {
    for (void* p : allocated_) cudaFree(p);
  }

  const std::vector<void*>& weights() const { return weights_; }
  void* x() const { return x_; }
  void* y() const { return y_; }
  void* second_y() const { return second_y_; }

  // `splits`: FP32 as the halves that three products of TF32 are made of.
  cuda::GemmArgs Args(int weight, bool splits = true) const {
    cuda::GemmArgs args;
    args.x = x_;
    args.w = weights_[weight];
    args.y = y_;
    args.block_input = input_;
    args.x_stride = args.w_stride = problem_.x_stride();
    args.y_stride = args.block_input_stride = problem_.y_stride();
    args.m = problem_.m;
    args.n = problem_.n;
    args.k = problem_.k;
    args.epilogue = {columns_, columns_stride_};
    if (splits && problem_.compute == Compute::kFp32) {
      args.x = split_x_;
      args.w = split_weights_[weight];
      args.x_stride = cuda::SplitStrideOfX(problem_.k);
      args.w_stride = cuda::SplitStrideOfW(problem_.k);
    }
    return args;
  }

  void Poison() const { BENCH_CHECK(cudaMemset(y_, 0xFF, y_bytes_ + kGuardBytes)); }

  std::vector<unsigned char> CopyOut(const void* y) const {
    std::vector<unsigned char> bytes(y_bytes_);
    BENCH_CHECK(cudaMemcpy(bytes.data(), y, bytes.size(), cudaMemcpyDeviceToHost));
    return bytes;
  }

  // Bytes after y, or between its rows, that no longer hold the poison. Tensor stores write whole
  // 16 bytes: the rest of a row's last 16 bytes may change.
  size_t Trespasses() const {
    std::vector<unsigned char> bytes(y_bytes_ + kGuardBytes);
    BENCH_CHECK(cudaMemcpy(bytes.data(), y_, bytes.size(), cudaMemcpyDeviceToHost));
    const size_t row = problem_.y_stride() * problem_.element_bytes();
    const size_t used =
        std::min(row, (size_t(problem_.n) * problem_.element_bytes() + 15) / 16 * 16);
    size_t count = 0;
    for (size_t i = 0; i < bytes.size(); i++) {
      if ((i >= y_bytes_ || i % row >= used) && bytes[i] != 0xFF) count++;
    }
    return count;
  }

  Difference Compare(Oracle& oracle) const {
    const Problem& p = problem_;
    return oracle.Compare({x_, p.format(), p.m, p.k, p.x_stride()},
                          {weights_[0], p.format(), p.n, p.k, p.x_stride()},
                          {y_, p.format(), p.m, p.n, p.y_stride()}, p.epilogue, columns_,
                          columns_ + columns_stride_, {input_, p.format(), p.m, p.n, p.y_stride()});
  }

 private:
  void* Allocate(size_t bytes) {
    void* p;
    BENCH_CHECK(cudaMalloc(&p, bytes));
    allocated_.push_back(p);
    return p;
  }

  Problem problem_;
  std::vector<void*> allocated_, weights_;
  void *x_, *y_, *second_y_, *input_;
  float* split_x_ = nullptr;  // of kFp32
  std::vector<float*> split_weights_;
  float* columns_;
  int64_t columns_stride_;
  size_t y_bytes_;
};

}  // namespace mlpserve::bench
