// Every tile that a kernel may be compiled with. Nothing else is ever built, so what is checked of
// these (no spills, shared memory, occupancy) holds for every kernel that is served; one that
// spills all the same, for an epilogue of many column vectors, is left out.
#pragma once

#include <vector>

#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

// The tiles that compute such products on such a device. The first one runs on every device that
// has the instructions at all, whatever the shape: the baseline.
std::vector<Tile> TuningSpace(ComputeType compute, const DeviceLimits& limits);

// The tiles that normalise with the batch's statistics as well (WgmmaConfig::normalises); none
// where the device or the format has no wgmma.
std::vector<WgmmaConfig> NormalisingTiles(ComputeType compute, const DeviceLimits& limits);

// What a tile takes of an SM, apart from the registers, which only the compiler knows.
struct TileResources {
  int threads = 0;
  int shared_bytes = 0;  // static and dynamic together, with the most columns a kernel may have
  int ctas_per_sm = 1;   // promised to the compiler
  int tile_m = 0;        // of y; for a cluster, what one CTA computes
  int tile_n = 0;
  int cluster = 1;  // CTAs that start together
};

// `columns`: Epilogue::kColumns.
TileResources ResourcesOf(const Tile& tile, ComputeType compute, DataType output, int columns);

}  // namespace mlpserve::cuda
