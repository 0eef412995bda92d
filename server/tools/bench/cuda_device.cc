#include "server/tools/bench/cuda_device.h"

#include "server/tools/bench/cuda_check.h"

namespace mlpserve::tools {

void CopyToHost(void* to, const void* from, size_t bytes) {
  BENCH_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
}

void CopyRowsToHost(void* to, const void* from, size_t stride_bytes, size_t row_bytes,
                    size_t rows) {
  if (row_bytes == 0 || rows == 0) return;
  BENCH_CHECK(
      cudaMemcpy2D(to, row_bytes, from, stride_bytes, row_bytes, rows, cudaMemcpyDeviceToHost));
}

void Poison(void* memory, size_t bytes) {
  BENCH_CHECK(cudaMemset(memory, 0xFF, bytes));
  BENCH_CHECK(cudaDeviceSynchronize());
}

size_t FreeBytes() {
  size_t free = 0;
  size_t total = 0;
  BENCH_CHECK(cudaMemGetInfo(&free, &total));
  return free;
}

}  // namespace mlpserve::tools
