#include "tests/kernels/cuda/engine/gpu_kernel.h"

#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/tensor_map.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/status/status_macros.h"
#include "tests/kernels/cuda/engine/gpu_problem.h"

namespace mlpserve::cuda {
namespace {

constexpr char kKernel[] = "mlpserve_gemm";
constexpr std::byte kPoison{0xA5};
constexpr size_t kGuardBytes = 4096;

std::string DeviceArch() {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return "";
  const std::string arch = absl::StrCat("sm_", properties.major, properties.minor);
  return arch == "sm_90" ? "sm_90a" : arch;
}

MapType MapTypeOf(DataType type) {
  if (type == DataType::kFp32) return MapType::kFp32;
  return type == DataType::kFp16 ? MapType::kFp16 : MapType::kBf16;
}

// Scratch memory, with a guard behind it that nothing may write.
class Scratch {
 public:
  explicit Scratch(size_t bytes, uint8_t value = 0)
      : bytes_(bytes), memory_(AllocateOnGpu(bytes + kGuardBytes)) {
    FillOnGpu(memory_.get(), value, bytes);
    FillOnGpu(static_cast<std::byte*>(memory_.get()) + bytes, 0xA5, kGuardBytes);
  }
  void* get() const { return memory_.get(); }

  absl::Status Check(const char* what, bool is_zero) const {
    std::vector<std::byte> found(bytes_ + kGuardBytes);
    if (cudaMemcpy(found.data(), memory_.get(), found.size(), cudaMemcpyDeviceToHost) !=
        cudaSuccess) {
      return absl::InternalError("cannot read the scratch memory");
    }
    const auto guard = found.begin() + static_cast<std::ptrdiff_t>(bytes_);
    if (!std::all_of(guard, found.end(), [](std::byte b) { return b == kPoison; })) {
      return absl::InternalError(absl::StrCat("memory behind the ", what, " was touched"));
    }
    if (is_zero &&
        !std::all_of(found.begin(), guard, [](std::byte b) { return b == std::byte{}; })) {
      return absl::InternalError(absl::StrCat(what, ": expected zeros after the launch"));
    }
    return absl::OkStatus();
  }

 private:
  size_t bytes_;
  std::shared_ptr<void> memory_;
};

}  // namespace

std::string WhyNoGpu() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return "no GPU";
  const auto nvrtc = Nvrtc::Open();
  return nvrtc.ok() ? "" : nvrtc.status().ToString();
}

bool RunsHere(const Tile& tile) { return !IsWgmma(tile) || DeviceArch() == "sm_90a"; }

struct GpuKernel::Shape {
  LaunchShape launch;
  int64_t partials_bytes = 0, arrivals = 0;
  int x_box_rows = 0, w_box_rows = 0, y_box_rows = 0;  // 0: no tensor maps
};

GpuKernel::GpuKernel(const KernelConfig& config, int columns, const CheckBuild& build,
                     LoadedKernel kernel, Stream stream)
    : config_(config),
      columns_(columns),
      build_(build),
      kernel_(std::move(kernel)),
      stream_(std::move(stream)) {}

absl::StatusOr<GpuKernel> GpuKernel::Make(const EpilogueSpec& epilogue, const KernelConfig& config,
                                          const CheckBuild& build, const EpilogueSpec& before) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto nvrtc, Nvrtc::Open());
  MLPSERVE_ASSIGN_OR_RETURN(std::string source, KernelSource(epilogue, config, before));
  if (build.is_checked) {
    source = absl::StrCat("#define MLPSERVE_CHECKED\n#define MLPSERVE_SHARED_OFFSET ",
                          build.shared_offset, "\n", source);
  }
  MLPSERVE_ASSIGN_OR_RETURN(const CompiledKernel compiled,
                            nvrtc->Compile(source, CodeName(config), {.arch = DeviceArch()}));
  const int columns = static_cast<int>(epilogue.columns.size());
  const int most =
      std::visit(
          [&](const auto& tile) -> int {
            using T = std::decay_t<decltype(tile)>;
            const KernelTypes types{
                .in_bytes = static_cast<int>(ByteSize(StorageType(config.compute))),
                .out_bytes = static_cast<int>(ByteSize(config.output)),
                .columns = columns};
            if constexpr (std::is_same_v<T, WgmmaConfig>) {
              return Launch(tile, types, 1, 1, 1).shared_bytes;
            } else if constexpr (std::is_same_v<T, WgmmaRowsConfig>) {
              return Launch(tile, types, 1, 1).shared_bytes;
            } else {
              return Launch(tile, types.in_bytes, int64_t{1}, int64_t{1}, 1).shared_bytes;
            }
          },
          config.tile) +
      build.shared_offset;
  MLPSERVE_ASSIGN_OR_RETURN(LoadedKernel kernel, LoadedKernel::Load(compiled, kKernel, most));
  MLPSERVE_ASSIGN_OR_RETURN(Stream stream, Stream::Create());
  return GpuKernel(config, columns, build, std::move(kernel), std::move(stream));
}

absl::StatusOr<GpuKernel::Shape> GpuKernel::ShapeOf(const GemmArgs& args) const {
  const KernelTypes types{.in_bytes = static_cast<int>(ByteSize(StorageType(config_.compute))),
                          .out_bytes = static_cast<int>(ByteSize(config_.output)),
                          .columns = columns_};
  const auto of_wgmma = [](const WgmmaLaunch& launch, int y_box_rows) -> Shape {
    return {.launch = {.grid_x = launch.grid_x,
                       .grid_y = launch.grid_y,
                       .threads = launch.threads,
                       .shared_bytes = launch.shared_bytes},
            .partials_bytes = launch.partials_bytes,
            .arrivals = launch.arrivals,
            .x_box_rows = launch.x_box_rows,
            .w_box_rows = launch.w_box_rows,
            .y_box_rows = y_box_rows};
  };
  if (const auto* wgmma = std::get_if<WgmmaConfig>(&config_.tile)) {
    const WgmmaLaunch one = Launch(*wgmma, types, args.m, args.n, 1);
    MLPSERVE_ASSIGN_OR_RETURN(const int clusters,
                              kernel_.ActiveClusters(of_wgmma(one, 0).launch, one.cluster));
    const WgmmaLaunch all = Launch(*wgmma, types, args.m, args.n, clusters);
    return of_wgmma(all, wgmma->store_by_tma ? all.y_box_rows : 0);
  }
  if (const auto* rows = std::get_if<WgmmaRowsConfig>(&config_.tile)) {
    return of_wgmma(Launch(*rows, types, args.m, args.n), 0);
  }
  return std::visit(
      [&](const auto& tile) -> Shape {
        if constexpr (requires { Launch(tile, 2, int64_t{1}, int64_t{1}, 1); }) {
          const MmaLaunch launch = Launch(tile, types.in_bytes, args.m, args.n, args.split_k);
          return {.launch = {.grid_x = launch.grid_x,
                             .grid_y = launch.grid_y,
                             .threads = launch.threads,
                             .shared_bytes = launch.shared_bytes},
                  .partials_bytes = launch.partials_bytes,
                  .arrivals = launch.arrivals};
        } else {
          return {};
        }
      },
      config_.tile);
}

absl::Status GpuKernel::Run(const GemmArgs& problem, int times, uint8_t counters,
                            StatisticsArgs statistics) const {
  GemmArgs args = problem;
  MLPSERVE_ASSIGN_OR_RETURN(Shape shape, ShapeOf(args));
  shape.launch.shared_bytes += build_.shared_offset;
  const Scratch partials(static_cast<size_t>(shape.partials_bytes));
  const Scratch arrivals(static_cast<size_t>(shape.arrivals) * sizeof(uint32_t), counters);
  args.partials = static_cast<float*>(partials.get());
  args.arrivals = static_cast<uint32_t*>(arrivals.get());
  CUtensorMap x{}, w{}, y{};
  if (shape.x_box_rows > 0) {
    const bool halves = ReadsHalves(config_.tile);
    const MapType in = halves || config_.compute == ComputeType::kTf32
                           ? MapType::kTf32
                           : MapTypeOf(StorageType(config_.compute));
    const int64_t columns = halves ? 2 * HalfColumns(args.k) : args.k;
    MLPSERVE_ASSIGN_OR_RETURN(
        x, EncodeTensorMap(in, args.x, args.m, columns, args.x_stride, shape.x_box_rows));
    MLPSERVE_ASSIGN_OR_RETURN(
        w, EncodeTensorMap(in, args.w, args.n, columns, args.w_stride, shape.w_box_rows));
    y = x;
    if (shape.y_box_rows > 0) {
      MLPSERVE_ASSIGN_OR_RETURN(y, EncodeTensorMap(MapTypeOf(config_.output), args.y, args.m,
                                                   args.n, args.y_stride, shape.y_box_rows));
    }
  }
  shape.launch.cooperative = Normalises(config_.tile);
  void* arguments[] = {&args, &x, &w, &y, &statistics};  // the last is of those that normalise
  for (int i = 0; i < times; ++i) {
    MLPSERVE_RETURN_IF_ERROR(kernel_.Launch(shape.launch, arguments, stream_));
  }
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  MLPSERVE_RETURN_IF_ERROR(partials.Check("partial sums", false));
  return arrivals.Check("counters", true);
}

}  // namespace mlpserve::cuda
