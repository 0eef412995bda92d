#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/bench/arithmetic.h"
#include "kernels/cuda/bench/check.h"
#include "kernels/cuda/bench/read_memory.cuh"
#include "kernels/cuda/device/tf32/tf32_split.cuh"
#include "kernels/cuda/tiles/wgmma_launch.h"

namespace mlpserve::bench {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 132 * 8;

__device__ double Load(const void* data, Format format, int64_t i) {
  switch (format) {
    case Format::kBf16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
    case Format::kFp16:
      return __half2float(static_cast<const __half*>(data)[i]);
    case Format::kFp32:
      return static_cast<const float*>(data)[i];
  }
  return 0;
}

__device__ void Store(void* data, Format format, int64_t i, float v) {
  switch (format) {
    case Format::kBf16:
      static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16(v);
      return;
    case Format::kFp16:
      static_cast<__half*>(data)[i] = __float2half(v);
      return;
    case Format::kFp32:
      static_cast<float*>(data)[i] = v;
  }
}

__device__ float Normal(uint64_t index, uint32_t seed) {
  uint64_t z = (index + 1) * 0x9E3779B97F4A7C15ull + seed * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  const float uniform = (static_cast<uint32_t>(z >> 32) + 1.0f) * 2.3283064e-10f;
  return sqrtf(-2 * logf(uniform)) * cospif(static_cast<uint32_t>(z) * 4.6566129e-10f);
}

__global__ void FillNormalKernel(void* out, Format format, int64_t rows, int64_t columns,
                                 int64_t stride, uint32_t seed, float scale, float offset) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < rows * stride;
       i += int64_t{kBlocks} * kThreads) {
    const float v = i % stride < columns ? Normal(i, seed) * scale + offset : NAN;
    Store(out, format, i, v);
  }
}

__global__ void ToDouble(Matrix from, double* to) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < from.rows * from.columns;
       i += int64_t{kBlocks} * kThreads) {
    to[i] = Load(from.data, from.format, i / from.columns * from.stride + i % from.columns);
  }
}

__device__ double Finish(EpilogueName epilogue, double z, double scale, double shift, double x) {
  switch (epilogue) {
    case EpilogueName::kIdentity:
      return z;
    case EpilogueName::kGelu: {
      z = fmin(fmax(z * kGeluScale, -kGeluClamp), kGeluClamp);
      return 0.5 * z * (1 + tanh(0.79788456080286535588 * (z + 0.044715 * z * z * z)));
    }
    case EpilogueName::kSigmoid:
      return z + kSigmoidScale / (1 + exp(-z));
    case EpilogueName::kAffine:
      return z * scale + shift;
    case EpilogueName::kInput:
      return z + x;
  }
  return z;
}

struct Totals {
  double error_squared, reference_squared;
  unsigned long long not_finite;
  unsigned long long worst;  // bits of a double >= 0, which order as the numbers do
  unsigned long long worst_index;
};

__global__ void CompareKernel(const double* z, Matrix y, EpilogueName epilogue, const float* scale,
                              const float* shift, Matrix input, Totals* totals) {
  double error = 0, reference = 0, worst = -1;
  unsigned long long bad = 0, worst_index = 0;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < y.rows * y.columns;
       i += int64_t{kBlocks} * kThreads) {
    const int64_t row = i / y.columns, column = i % y.columns;
    const double x = epilogue == EpilogueName::kInput
                         ? Load(input.data, input.format, row * input.stride + column)
                         : 0;
    const double expected = Finish(epilogue, z[i], scale[column], shift[column], x);
    const double actual = Load(y.data, y.format, row * y.stride + column);
    if (!isfinite(actual)) {
      bad++;
      continue;
    }
    const double difference = fabs(actual - expected);
    error += difference * difference;
    reference += expected * expected;
    if (difference > worst) {
      worst = difference;
      worst_index = i;
    }
  }
  const unsigned long long bits = __double_as_longlong(fmax(worst, 0.0));
  if (atomicMax(&totals->worst, bits) < bits) totals->worst_index = worst_index;  // thereabouts
  atomicAdd(&totals->error_squared, error);
  atomicAdd(&totals->reference_squared, reference);
  atomicAdd(&totals->not_finite, bad);
}

}  // namespace

void FillNormal(void* out, Format format, int64_t rows, int64_t columns, int64_t stride,
                uint32_t seed, float scale, float offset) {
  FillNormalKernel<<<kBlocks, kThreads>>>(out, format, rows, columns, stride, seed, scale, offset);
  BENCH_CHECK(cudaGetLastError());
}

void SplitTf32(const Matrix& from, bool scales, float* to, int64_t stride) {
  const cuda::SplitArgs args{.from = static_cast<const float*>(from.data),
                             .to = to,
                             .from_stride = from.stride,
                             .to_stride = stride,
                             .columns = static_cast<int32_t>(from.columns),
                             .half_columns = static_cast<int32_t>(cuda::HalfColumns(from.columns)),
                             .scales = scales};
  cuda::mlpserve_split_tf32<<<from.rows, cuda::kSplitThreads>>>(args);
  BENCH_CHECK(cudaGetLastError());
}

void ReadAll(const void* data, size_t bytes, cudaStream_t stream) {
  static unsigned* sink = [] {
    unsigned* p;
    BENCH_CHECK(cudaMalloc(&p, sizeof *p));
    return p;
  }();
  cuda::mlpserve_read_memory<<<132 * 4, 512, 0, stream>>>(static_cast<const uint4*>(data),
                                                          bytes / 16, sink);
  BENCH_CHECK(cudaGetLastError());
}

Oracle::Oracle(cublasLtHandle_t lt) : lt_(lt) {}

double* Oracle::Reserve(int slot, int64_t count) {
  if (sizes_[slot] < count) {
    BENCH_CHECK(cudaFree(buffers_[slot]));
    BENCH_CHECK(cudaMalloc(&buffers_[slot], count * sizeof(double)));
    sizes_[slot] = count;
  }
  return buffers_[slot];
}

Difference Oracle::Compare(const Matrix& x, const Matrix& w, const Matrix& y, EpilogueName epilogue,
                           const float* scale, const float* shift, const Matrix& input) {
  const int64_t m = x.rows, n = w.rows, k = x.columns;
  double* x64 = Reserve(0, m * k);
  double* w64 = Reserve(1, n * k);
  double* z = Reserve(2, m * n);
  ToDouble<<<kBlocks, kThreads>>>(x, x64);
  ToDouble<<<kBlocks, kThreads>>>(w, w64);

  cublasLtMatmulDesc_t op;
  BENCH_CHECK(cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_64F, CUDA_R_64F));
  const cublasOperation_t transpose = CUBLAS_OP_T;
  BENCH_CHECK(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                             sizeof transpose));
  cublasLtMatrixLayout_t a, b, c;  // column major: z^T[n,m] = w[n,k] x^T[k,m]
  BENCH_CHECK(cublasLtMatrixLayoutCreate(&a, CUDA_R_64F, k, n, k));
  BENCH_CHECK(cublasLtMatrixLayoutCreate(&b, CUDA_R_64F, k, m, k));
  BENCH_CHECK(cublasLtMatrixLayoutCreate(&c, CUDA_R_64F, n, m, n));
  const double one = 1, zero = 0;
  BENCH_CHECK(cublasLtMatmul(lt_, op, &one, w64, a, x64, b, &zero, z, c, z, c, nullptr, nullptr, 0,
                             nullptr));
  cublasLtMatrixLayoutDestroy(a);
  cublasLtMatrixLayoutDestroy(b);
  cublasLtMatrixLayoutDestroy(c);
  cublasLtMatmulDescDestroy(op);

  Totals* totals;
  BENCH_CHECK(cudaMalloc(&totals, sizeof *totals));
  BENCH_CHECK(cudaMemset(totals, 0, sizeof *totals));
  CompareKernel<<<kBlocks, kThreads>>>(z, y, epilogue, scale, shift, input, totals);
  Totals found;
  BENCH_CHECK(cudaMemcpy(&found, totals, sizeof found, cudaMemcpyDeviceToHost));
  Difference difference;
  difference.relative = sqrt(found.error_squared / found.reference_squared);
  memcpy(&difference.worst, &found.worst, sizeof(double));
  difference.worst_row = found.worst_index / n;
  difference.worst_column = found.worst_index % n;
  difference.not_finite = found.not_finite;
  BENCH_CHECK(cudaFree(totals));
  return difference;
}

}  // namespace mlpserve::bench
