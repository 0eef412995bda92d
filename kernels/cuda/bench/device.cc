#include "kernels/cuda/bench/device.h"

#include <array>

#include "kernels/cuda/bench/check.h"

namespace mlpserve::bench {

void CopyToHost(void* to, const void* from, size_t bytes) {
  BENCH_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
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

std::string PciBusId(int ordinal) {
  std::array<char, 32> id{};
  BENCH_CHECK(cudaDeviceGetPCIBusId(id.data(), static_cast<int>(id.size()), ordinal));
  return id.data();
}

}  // namespace mlpserve::bench
