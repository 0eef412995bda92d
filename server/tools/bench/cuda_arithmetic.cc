#include "server/tools/bench/cuda_arithmetic.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/device/bench/float64_args.cuh"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/engine/product_args.h"
#include "kernels/cuda/jit/device_sources.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/cuda_device.h"
#include "server/tools/bench/cuda_timing.h"

namespace mlpserve::tools {
namespace {

using cuda::DeviceMemory;
using cuda::KernelText;

constexpr size_t kReadBytes = size_t{4} << 30;
constexpr int kReadThreads = 512;
constexpr int kReadCtasPerSm = 4;
constexpr int kReadRounds = 8;

int64_t Blocks(int64_t results) { return (results + cuda::kFloat64Tile - 1) / cuda::kFloat64Tile; }

const char* TypeText(ComputeType type) {
  switch (type) {
    case ComputeType::kBf16:
      return "kBf16";
    case ComputeType::kFp16:
      return "kFp16";
    case ComputeType::kTf32:
      return "kTf32";
    case ComputeType::kFp32:
      break;
  }
  return "kFp32";
}

}  // namespace

KernelText Float64Text(ComputeType stored) {
  cuda::SourceJoiner source;
  source.Add("kernels/cuda/device/bench/float64_args.cuh");
  source.Add("kernels/cuda/device/ptx/primitives.cuh");
  source.AddText(absl::StrCat("namespace mlpserve::cuda {\nstruct Config {\n",
                              "  static constexpr Type kIn = Type::", TypeText(stored),
                              ";\n};\n}  // namespace mlpserve::cuda\n"));
  source.Add("kernels/cuda/device/bench/float64_product.cuh");
  return {.source = std::move(source).Take(),
          .kernel = "mlpserve_float64_product",
          .label = "float64 product"};
}

KernelText ReadText() {
  cuda::SourceJoiner source;
  source.Add("kernels/cuda/device/bench/read_memory.cuh");
  return {.source = std::move(source).Take(),
          .kernel = "mlpserve_read_memory",
          .label = "read of memory"};
}

absl::StatusOr<ProductSums> MultiplyOnDevice(const cuda::Place& place, int64_t m, Columns columns,
                                             ComputeType rounded_to, cuda::KernelStore& store,
                                             const cuda::Stream& stream) {
  const cuda::GemmArgs gemm = cuda::ProductArgs(place);
  const size_t count = static_cast<size_t>(m) * static_cast<size_t>(columns.count);
  MLPSERVE_ASSIGN_OR_RETURN(const DeviceMemory sums,
                            DeviceMemory::Allocate(count * sizeof(double)));
  MLPSERVE_ASSIGN_OR_RETURN(const DeviceMemory magnitudes,
                            DeviceMemory::Allocate(count * sizeof(double)));
  MLPSERVE_ASSIGN_OR_RETURN(const auto kernel, store.Get(Float64Text(rounded_to), 0));
  const auto row_bytes = gemm.w_stride * static_cast<int64_t>(ByteSize(place.layer.stored()));
  cuda::Float64Args args{.x = gemm.x,
                         .w = static_cast<const std::byte*>(gemm.w) + columns.first * row_bytes,
                         .sums = static_cast<double*>(sums.get()),
                         .magnitudes = static_cast<double*>(magnitudes.get()),
                         .x_stride = gemm.x_stride,
                         .w_stride = gemm.w_stride,
                         .m = m,
                         .n = columns.count,
                         .k = gemm.k};
  void* arguments[] = {&args};
  MLPSERVE_RETURN_IF_ERROR(kernel->Launch(
      {.grid_x = Blocks(columns.count), .grid_y = Blocks(m), .threads = cuda::kFloat64Threads},
      arguments, stream));
  MLPSERVE_RETURN_IF_ERROR(stream.Synchronize());
  ProductSums products;
  products.sums.resize(count);
  products.magnitudes.resize(count);
  CopyToHost(products.sums.data(), sums.get(), count * sizeof(double));
  CopyToHost(products.magnitudes.data(), magnitudes.get(), count * sizeof(double));
  return products;
}

absl::StatusOr<double> MeasureReading(cuda::KernelStore& store, const cuda::Stream& stream) {
  const size_t bytes = std::min(kReadBytes, FreeBytes() / 4);
  MLPSERVE_ASSIGN_OR_RETURN(const auto memory, DeviceMemory::Allocate(bytes));
  MLPSERVE_ASSIGN_OR_RETURN(const auto sink, DeviceMemory::Allocate(sizeof(unsigned)));
  MLPSERVE_ASSIGN_OR_RETURN(const auto kernel, store.Get(ReadText(), 0));
  absl::Status status = kernel->PreferL1();  // holds the lines that are on their way from memory
  const Launch read = [&](int, cudaStream_t) {
    const void* data = memory.get();
    size_t count = bytes / 16;
    void* written = sink.get();
    void* arguments[] = {&data, &count, &written};
    status.Update(
        kernel->Launch({.grid_x = int64_t{store.device().limits.multiprocessors} * kReadCtasPerSm,
                        .threads = kReadThreads},
                       arguments, stream));
  };
  const double ms = BurstMs({read}, kReadRounds, stream.get())[0];
  MLPSERVE_RETURN_IF_ERROR(status);
  return 1e-6 * static_cast<double>(bytes) / ms;
}

}  // namespace mlpserve::tools
