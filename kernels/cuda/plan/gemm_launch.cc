#include "kernels/cuda/plan/gemm_launch.h"

#include <variant>

namespace mlpserve::cuda {
namespace {

int Bytes(DataType type) { return static_cast<int>(ByteSize(type)); }

GemmLaunch FromWgmma(const WgmmaLaunch& launch, int y_box_rows) {
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
  GemmLaunch operator()(const SyncTile& tile) const {
    const MmaLaunch launch = Launch(tile, types.in_bytes, m, n, split_k);
    return {.shape = {.grid_x = launch.grid_x,
                      .grid_y = launch.grid_y,
                      .threads = launch.threads,
                      .shared_bytes = launch.shared_bytes},
            .partials_bytes = launch.partials_bytes,
            .arrivals = launch.arrivals};
  }

  GemmLaunch operator()(const WgmmaConfig& config) const {
    const WgmmaLaunch launch = Launch(config, types, m, n, clusters);
    GemmLaunch gemm = FromWgmma(launch, config.store_by_tma ? launch.y_box_rows : 0);
    if (config.normalises) {
      gemm.shape.programmatic = false;
      gemm.shape.cooperative = true;
      gemm.partials_bytes = launch.partials_bytes;
      gemm.arrivals = launch.arrivals;
    }
    return gemm;
  }
  GemmLaunch operator()(const WgmmaRowsConfig& config) const {
    return FromWgmma(Launch(config, types, m, n), 0);
  }
};

}  // namespace

GemmLaunch LaunchOf(const LayerPlan& layer, const KernelConfig& config, int64_t m, int clusters) {
  const EpilogueSpec& last =
      Normalises(config.tile) ? layer.norms.front().epilogue : layer.epilogue;
  const LaunchReader reader{.types = {.in_bytes = Bytes(StorageType(config.compute)),
                                      .out_bytes = Bytes(config.output),
                                      .columns = static_cast<int>(last.columns.size())},
                            .m = static_cast<int>(m),
                            .n = static_cast<int>(layer.outputs),
                            .split_k = config.split_k,
                            .clusters = clusters};
  return std::visit(reader, config.tile);
}

}  // namespace mlpserve::cuda
