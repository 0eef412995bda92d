// Ends the program where a call of the runtime fails: a benchmark cannot go on after that.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

namespace mlpserve::tools {

inline void CheckCuda(cudaError_t error, const char* file, int line) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, cudaGetErrorString(error));
  std::exit(1);
}

}  // namespace mlpserve::tools

#define BENCH_CHECK(call) ::mlpserve::tools::CheckCuda((call), __FILE__, __LINE__)
