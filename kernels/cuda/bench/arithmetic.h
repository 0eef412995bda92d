// What the benchmark computes beside the kernels under test: random data, the float64 oracle, and
// the bandwidth with which memory can be read.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace mlpserve::bench {

enum class Format { kBf16, kFp16, kFp32 };  // as stored

enum class EpilogueName { kIdentity, kGelu, kSigmoid, kAffine, kInput };

// Constants of the benchmarked epilogues; kernel.cc's texts and the oracle's arithmetic use them.
constexpr double kGeluScale = 1.25;
constexpr double kGeluClamp = 2.0;
constexpr double kSigmoidScale = 2.0;

// Normal numbers times `scale`, plus `offset`: a card's power, and so its speed, depends on the
// bits. Row r begins at r * stride; what lies between the row's end and its stride becomes NaN.
void FillNormal(void* out, Format format, int64_t rows, int64_t columns, int64_t stride,
                uint32_t seed, float scale, float offset = 0);

struct Matrix {
  const void* data;
  Format format;
  int64_t rows, columns, stride;
};

// Rows of FP32 as the halves that products of TF32 read (tf32_split.cuh), `stride` apart. Rows of x
// are scaled.
void SplitTf32(const Matrix& from, bool scales, float* to, int64_t stride);

struct Difference {
  double relative = 0;  // 2-norm of y - oracle over 2-norm of the oracle
  double worst = 0;     // largest absolute difference, and where
  int64_t worst_row = 0, worst_column = 0;
  int64_t not_finite = 0;
};

// Float64 products by cublasLt, then the epilogue in float64, held against y.
class Oracle {
 public:
  explicit Oracle(cublasLtHandle_t lt);
  // `scale` and `shift` are the columns of kAffine, `input` what kInput adds.
  Difference Compare(const Matrix& x, const Matrix& w, const Matrix& y, EpilogueName epilogue,
                     const float* scale, const float* shift, const Matrix& input);

 private:
  double* Reserve(int slot, int64_t count);

  cublasLtHandle_t lt_;
  double* buffers_[3] = {};
  int64_t sizes_[3] = {};
};

// Reads `bytes` once; launched on `stream`.
void ReadAll(const void* data, size_t bytes, cudaStream_t stream);

}  // namespace mlpserve::bench
