#include "kernels/cuda/engine/fused_gemm.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/tensor_map.h"
#include "kernels/cuda/engine/product_args.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

struct Maps {
  CUtensorMap x{}, w{}, y{};
};

MapType MapTypeOf(DataType type) {
  return type == DataType::kFp32   ? MapType::kFp32
         : type == DataType::kFp16 ? MapType::kFp16
                                   : MapType::kBf16;
}

// Of x and w: what the kernel rounds to TF32 is rounded as it is copied.
MapType OperandType(const KernelConfig& config) {
  const bool is_tf32 = ReadsHalves(config.tile) || config.compute == ComputeType::kTf32;
  return is_tf32 ? MapType::kTf32 : MapTypeOf(StorageType(config.compute));
}

GemmArgs ArgsOf(const Place& place, const KernelConfig& config) {
  GemmArgs args = ProductArgs(place);
  args.split_k = config.split_k;
  if (ReadsHalves(config.tile)) {
    args.x = place.memory.at(Buffer::kSplitRows);
    args.w = place.data.split_weight->get();
    args.x_stride = SplitStrideOfX(place.layer.inputs);
    args.w_stride = SplitStrideOfW(place.layer.inputs);
  }
  if (Normalises(config.tile)) {
    const NormPlan& norm = place.layer.norms.front();
    args.y = place.memory.at(norm.y);
    args.y_stride = norm.y.stride;
    args.epilogue = place.data.norms.front().columns;
  }
  return args;
}

absl::StatusOr<Maps> EncodeMaps(const GemmArgs& args, const KernelConfig& config,
                                const GemmLaunch& launch, int64_t rows) {
  const MapType in = OperandType(config);
  const int64_t columns = ReadsHalves(config.tile) ? 2 * HalfColumns(args.k) : args.k;
  Maps maps;
  MLPSERVE_ASSIGN_OR_RETURN(
      maps.x, EncodeTensorMap(in, args.x, rows, columns, args.x_stride, launch.x_box_rows));
  MLPSERVE_ASSIGN_OR_RETURN(
      maps.w, EncodeTensorMap(in, args.w, args.n, columns, args.w_stride, launch.w_box_rows));
  maps.y = maps.x;  // only read where y has boxes
  if (launch.y_box_rows == 0) return maps;
  MLPSERVE_ASSIGN_OR_RETURN(maps.y, EncodeTensorMap(MapTypeOf(config.output), args.y, rows, args.n,
                                                    args.y_stride, launch.y_box_rows));
  return maps;
}

class BoundGemm final : public BoundStep {
 public:
  BoundGemm(const KernelConfig& config, SharedKernel kernel, int clusters, const Place& place)
      : layer_(place.layer),
        config_(config),
        kernel_(std::move(kernel)),
        clusters_(clusters),
        args_(ArgsOf(place, config)) {
    if (!Normalises(config.tile)) return;
    statistics_ = NormArgs(place, 0);
    statistics_.before = place.data.columns.columns;
  }

  absl::Status Encode(int64_t rows) {
    const GemmLaunch launch = LaunchOf(layer_, config_, rows, clusters_);
    if (!launch.has_maps()) return absl::OkStatus();
    MLPSERVE_ASSIGN_OR_RETURN(maps_, EncodeMaps(args_, config_, launch, rows));
    return absl::OkStatus();
  }

  void SetRows(int32_t m) override {
    args_.m = m;
    shape_ = LaunchOf(layer_, config_, m, clusters_).shape;
  }

  absl::Status Launch(const Stream& stream) override {
    if (!maps_) {
      void* arguments[] = {&args_};
      return kernel_->Launch(shape_, arguments, stream);
    }
    // The last one is read by kernels that normalise alone.
    void* arguments[] = {&args_, &maps_->x, &maps_->w, &maps_->y, &statistics_};
    return kernel_->Launch(shape_, arguments, stream);
  }

 private:
  const LayerPlan& layer_;
  const KernelConfig config_;
  const SharedKernel kernel_;
  const int clusters_;
  GemmArgs args_;
  StatisticsArgs statistics_;
  std::optional<Maps> maps_;  // nothing: the kernel takes none
  LaunchShape shape_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const FusedGemm>> FusedGemm::Make(const LayerPlan& layer,
                                                                 const KernelConfig& config,
                                                                 int64_t rows, Kernels& kernels) {
  const GemmLaunch launch = LaunchOf(layer, config, rows, 1);
  MLPSERVE_ASSIGN_OR_RETURN(const KernelText text, GemmText(layer, config));
  MLPSERVE_ASSIGN_OR_RETURN(SharedKernel kernel, kernels.Get(text, launch.shape.shared_bytes));
  std::shared_ptr<FusedGemm> gemm(new FusedGemm(config, rows, std::move(kernel)));
  if (!launch.has_maps()) return gemm;
  MLPSERVE_ASSIGN_OR_RETURN(gemm->clusters_,
                            kernels.ActiveClusters(*gemm->kernel_, launch.shape, launch.cluster));
  if (LaunchOf(layer, config, rows, gemm->clusters_).shape.grid_x == 0) {
    return absl::OutOfRangeError(absl::StrCat("expected rows of which ", Name(config),
                                              " runs all tiles at one time, found ", rows));
  }
  return gemm;
}

absl::StatusOr<std::unique_ptr<BoundStep>> FusedGemm::Bind(const Place& place) const {
  auto bound = std::make_unique<BoundGemm>(config_, kernel_, clusters_, place);
  MLPSERVE_RETURN_IF_ERROR(bound->Encode(rows_));
  return bound;
}

}  // namespace mlpserve::cuda
