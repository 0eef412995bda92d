#include "kernels/cuda/engine/fused_gemm.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/tensor_map.h"
#include "kernels/cuda/engine/split_step.h"
#include "kernels/cuda/tiles/mma_launch.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

int Bytes(DataType type) { return static_cast<int>(ByteSize(type)); }

FusedLaunch FromWgmma(const WgmmaLaunch& launch, int y_box_rows) {
  // These kernels wait for the one before them by themselves.
  return {.shape = {.grid_x = launch.grid_x,
                    .grid_y = launch.grid_y,
                    .threads = launch.threads,
                    .shared_bytes = launch.shared_bytes,
                    .programmatic = true},
          .cluster = launch.cluster,
          .x_box_rows = launch.x_box_rows,
          .w_box_rows = launch.w_box_rows,
          .y_box_rows = y_box_rows};
}

struct LaunchReader {
  KernelTypes types;
  int m, n, split_k, clusters;

  template <typename SyncTile>
  FusedLaunch operator()(const SyncTile& tile) const {
    const MmaLaunch launch = Launch(tile, types.in_bytes, m, n, split_k);
    return {.shape = {.grid_x = launch.grid_x,
                      .grid_y = launch.grid_y,
                      .threads = launch.threads,
                      .shared_bytes = launch.shared_bytes},
            .partials_bytes = launch.partials_bytes,
            .arrivals = launch.arrivals};
  }

  FusedLaunch operator()(const WgmmaConfig& config) const {
    const WgmmaLaunch launch = Launch(config, types, m, n, clusters);
    FusedLaunch fused = FromWgmma(launch, config.store_by_tma ? launch.y_box_rows : 0);
    if (config.normalises) {
      fused.shape.programmatic = false;
      fused.shape.cooperative = true;
      fused.partials_bytes = launch.partials_bytes;
      fused.arrivals = launch.arrivals;
    }
    return fused;
  }
  FusedLaunch operator()(const WgmmaRowsConfig& config) const {
    return FromWgmma(Launch(config, types, m, n), 0);
  }
};

MapType MapTypeOf(DataType type) {
  return type == DataType::kFp32   ? MapType::kFp32
         : type == DataType::kFp16 ? MapType::kFp16
                                   : MapType::kBf16;
}

// The product as the kernel reads it, without the weights that it does not.
Product WithOperandsOf(const KernelConfig& config, Product product) {
  if (!ReadsHalves(config.tile)) {
    product.weight_halves.reset();
    return product;
  }
  GemmArgs& args = product.args;
  args.x = product.halves->get();
  args.w = product.weight_halves->get();
  args.x_stride = SplitStrideOfX(args.k);
  args.w_stride = SplitStrideOfW(args.k);
  product.weight.reset();
  return product;
}

absl::StatusOr<std::unique_ptr<SplitStep>> SplitOfX(const Product& product, KernelStore& store) {
  const GemmArgs& args = product.args;
  return SplitStep::Make({.from = static_cast<const float*>(args.x),
                          .to = static_cast<float*>(product.halves->get()),
                          .from_stride = args.x_stride,
                          .to_stride = SplitStrideOfX(args.k),
                          .columns = args.k,
                          .half_columns = static_cast<int32_t>(HalfColumns(args.k)),
                          .scales = 1},
                         store);
}

}  // namespace

KernelStore::GemmRequest RequestFor(const Product& product, const KernelConfig& config) {
  if (!Normalises(config.tile))
    return {.epilogue = product.epilogue, .config = config, .before = {}};
  return {.epilogue = product.norm->epilogue, .config = config, .before = product.epilogue};
}

FusedLaunch LaunchOf(const KernelConfig& config, const Product& product, int64_t m, int clusters) {
  const EpilogueSpec& last = Normalises(config.tile) ? product.norm->epilogue : product.epilogue;
  const LaunchReader reader{.types = {.in_bytes = Bytes(StorageType(config.compute)),
                                      .out_bytes = Bytes(config.output),
                                      .columns = static_cast<int>(last.columns.size())},
                            .m = static_cast<int>(m),
                            .n = product.args.n,
                            .split_k = config.split_k,
                            .clusters = clusters};
  return std::visit(reader, config.tile);
}

struct FusedGemm::Maps {
  CUtensorMap x{}, w{}, y{};
};

FusedGemm::FusedGemm(const Product& product, const KernelConfig& config, SharedKernel kernel)
    : product_(product), config_(config), kernel_(std::move(kernel)) {}

absl::StatusOr<std::unique_ptr<FusedGemm>> FusedGemm::Make(const Product& product,
                                                           const KernelConfig& config, int64_t rows,
                                                           KernelStore& store) {
  const bool normalises = Normalises(config.tile);
  const Product whole = WithOperandsOf(config, normalises ? product.Normalised() : product);
  FusedLaunch launch = LaunchOf(config, whole, rows, 1);
  absl::StatusOr<SharedKernel> kernel =
      store.Gemm(RequestFor(product, config), launch.shape.shared_bytes);
  if (!kernel.ok()) return kernel.status();
  std::unique_ptr<FusedGemm> gemm(new FusedGemm(whole, config, *std::move(kernel)));
  if (ReadsHalves(config.tile)) {
    auto split = SplitOfX(product, store);
    if (!split.ok()) return split.status();
    gemm->split_ = *std::move(split);
  }
  if (launch.cluster > 0 && launch.x_box_rows > 0) {
    const absl::StatusOr<int> clusters =
        gemm->kernel_->ActiveClusters(launch.shape, launch.cluster);
    if (!clusters.ok()) return clusters.status();
    gemm->clusters_ = *clusters;
    launch = LaunchOf(config, whole, rows, *clusters);
    if (launch.shape.grid_x == 0) {
      return absl::OutOfRangeError(absl::StrCat("expected rows of which ", Name(config),
                                                " runs all tiles at one time, found ", rows));
    }
    MLPSERVE_RETURN_IF_ERROR(gemm->EncodeMaps(launch, rows));
  }
  MLPSERVE_RETURN_IF_ERROR(product.partials->Reserve(static_cast<size_t>(launch.partials_bytes)));
  MLPSERVE_RETURN_IF_ERROR(
      product.arrivals->Reserve(static_cast<size_t>(launch.arrivals) * sizeof(uint32_t)));
  return gemm;
}

absl::Status FusedGemm::EncodeMaps(const FusedLaunch& launch, int64_t rows) {
  maps_ = std::make_shared<Maps>();
  const GemmArgs& a = product_.args;
  const bool of_halves = ReadsHalves(config_.tile);
  const MapType in = of_halves || product_.compute == ComputeType::kTf32
                         ? MapType::kTf32
                         : MapTypeOf(StorageType(product_.compute));
  const int64_t columns = of_halves ? 2 * HalfColumns(a.k) : a.k;
  absl::StatusOr<CUtensorMap> map =
      EncodeTensorMap(in, a.x, rows, columns, a.x_stride, launch.x_box_rows);
  if (!map.ok()) return map.status();
  maps_->x = maps_->y = *map;  // y's is only read where it has boxes
  map = EncodeTensorMap(in, a.w, a.n, columns, a.w_stride, launch.w_box_rows);
  if (!map.ok()) return map.status();
  maps_->w = *map;
  if (launch.y_box_rows == 0) return absl::OkStatus();
  map = EncodeTensorMap(MapTypeOf(product_.output), a.y, rows, a.n, a.y_stride, launch.y_box_rows);
  if (!map.ok()) return map.status();
  maps_->y = *map;
  return absl::OkStatus();
}

absl::Status FusedGemm::Launch(int32_t m, const Stream& stream) const {
  if (split_ != nullptr) MLPSERVE_RETURN_IF_ERROR(split_->Launch(m, stream));
  const FusedLaunch launch = LaunchOf(config_, product_, m, clusters_);
  GemmArgs args = product_.args;
  args.m = m;
  args.split_k = config_.split_k;
  args.partials = static_cast<float*>(product_.partials->get());
  args.arrivals = static_cast<uint32_t*>(product_.arrivals->get());
  if (maps_ == nullptr) {
    void* arguments[] = {&args};
    MLPSERVE_RETURN_IF_ERROR(kernel_->Launch(launch.shape, arguments, stream));
  } else {
    StatisticsArgs statistics;  // read by kernels that normalise alone
    if (product_.norm) statistics = product_.norm->statistics;
    void* arguments[] = {&args, &maps_->x, &maps_->w, &maps_->y, &statistics};
    MLPSERVE_RETURN_IF_ERROR(kernel_->Launch(launch.shape, arguments, stream));
  }
  return LaunchPasses(product_, m, stream);
}

}  // namespace mlpserve::cuda
