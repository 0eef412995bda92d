// Ends the program where a call fails: a benchmark has nothing better to do.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

namespace mlpserve::bench {

inline void Check(cudaError_t error, const char* file, int line) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, cudaGetErrorString(error));
  std::exit(1);
}

inline void Check(cublasStatus_t status, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  std::fprintf(stderr, "%s:%d: cuBLASLt status %d\n", file, line, static_cast<int>(status));
  std::exit(1);
}

}  // namespace mlpserve::bench

#define BENCH_CHECK(call) ::mlpserve::bench::Check((call), __FILE__, __LINE__)
