// y = epilogue(norm(before(x·wᵀ))) for many rows on sm_90a, in one kernel (wgmma_cta.cuh): a
// batch norm with the statistics of the batch while the products are still in registers.
//
// A CTA gathers, for each column of its rows, the mean and the squares of the deviations from it,
// and leaves them in global memory. When all row tiles of a column of tiles have, each merges what
// all left (the formula of Chan, Golub and LeVeque, "Updating formulae", 1979, in float64 and
// in the order of the rows: same input, same bits) and finishes its rows.
//
// CTAs wait for one another: all of the grid must run at one time (a cooperative launch), and
// every column of tiles must be taken in one round. So kGroupM is 0, the number of clusters is a
// multiple of the cluster rows of y, and tiles are not ping-pong.
//
// Sums of squares would drown the variance of a column whose mean is far from zero. Deviations here
// are from the warpgroup's first row, which is one of the values: its own distance from their mean
// is at most the root of all their squares, so that at most a factor of its rows is lost.
// The normalised value is (z - upper half of the mean) * scale + (shift - lower half * scale).
//
// Of GemmArgs, besides what every product reads: `partials`, float64 [row tiles of y, n
// rounded up to 8, 2], and `arrivals`, a counter for each column of tiles, zero before the launch
// and after it. The epilogue begins with (z + column 0) * column 1 + column 2; these three are
// filled in here rather than read. `Before` is the epilogue before the norm, of
// Config::kBeforeColumns vectors.
#pragma once

#include "kernels/cuda/device/norm/norm_operand.cuh"
#include "kernels/cuda/device/norm/statistics_args.cuh"
#include "kernels/cuda/device/ptx/global_memory.cuh"
#include "kernels/cuda/device/wgmma/wgmma_cta.cuh"

namespace mlpserve::cuda {

static_assert(Config::kGroupM == 0 && Config::kPingPong == 0,
              "every column of tiles is taken in one round");
static_assert(kConsumers == 2, "the moments of two warpgroups make a CTA's");
static_assert(Config::kTileN % 32 == 0 && 4 * Config::kTileN * 8 <= kStoreBytes,
              "the warps' sums lie in the store buffer");

constexpr int kWarps = kWarpgroupThreads / 32;
constexpr int kNormColumns = 3;
constexpr int kPartsAtOnce = 8;  // that a thread has on their way to it
constexpr int kChunk = 32;       // columns that a warp sums at once, one for each lane
constexpr int kChunkValues = 8;  // of them a thread's

struct Moments {
  double mean;
  double squares;  // of deviations from the mean, summed
};

// Sums eight values over the lanes that differ in lane / 4 alone. Each of these ends with one
// value: the one whose index has bit 2 of lane's bit 4, bit 1 of its bit 3 and bit 0 of its bit 2.
__device__ __forceinline__ float SumScattered(float (&values)[kChunkValues], int lane) {
#pragma unroll
  for (int half = kChunkValues / 2, mask = 16; half > 0; half /= 2, mask /= 2) {
    const bool upper = lane & mask;
#pragma unroll
    for (int i = 0; i < half; i++) {
      const float keep = upper ? values[i + half] : values[i];
      const float send = upper ? values[i] : values[i + half];
      values[i] = keep + __shfl_xor_sync(0xffffffffu, send, mask);
    }
  }
  return values[0];
}

class Normalise {
 public:
  static constexpr int kOwnColumns = kNormColumns;

  __device__ __forceinline__ explicit Normalise(const StatisticsArgs& statistics)
      : statistics_(statistics) {}

  __device__ __forceinline__ void FetchColumns(const WarpgroupTile& t) const {
    cuda::FetchColumns(statistics_.before, t.args.epilogue.columns_stride,
                       t.shared.Column(t.consumer, Epilogue::kColumns), Config::kBeforeColumns,
                       t.thread, t.origin.y);
  }

  __device__ __forceinline__ void Run(const WarpgroupTile& t,
                                      float (&sums)[kFragments][kAccumulators]) const {
    if (t.thread == 0) WaitStoresRead<0>();  // of the buffer that takes the warps' sums
    KeepFirstRow(t, sums);
    SyncThreads(1 + t.consumer, kWarpgroupThreads);
    if (t.origin.x + kTileRows <= t.args.m) {
      SumColumns<true>(t, sums);
    } else {
      SumColumns<false>(t, sums);
    }
    SyncConsumers();
    LeaveMoments(t);
    SyncConsumers();
    if (t.consumer == 0 && t.thread == 0) WaitForAll(t);
    SyncConsumers();
    MergeMoments(t);
    SyncConsumers();
  }

 private:
  // Both warpgroups. (The barriers before this one hand the ring over.)
  static __device__ __forceinline__ void SyncConsumers() {
    SyncThreads(1 + 2 * kConsumers, kConsumers * kWarpgroupThreads);
  }
  // Of `most` rows from `row` on, those that y has.
  static __device__ __forceinline__ int RowsInside(const GemmArgs& args, int row, int most) {
    return max(0, min(args.m - row, most));
  }
  static __device__ __forceinline__ Moments* PartAt(const GemmArgs& args, int part, int column) {
    return reinterpret_cast<Moments*>(args.partials) + part * args.epilogue.columns_stride + column;
  }

  // Four sums become z: two neighbours of row `row`, from column first + lane % 4 * 2 of the tile
  // on, and the same of row + 8.
  static __device__ __forceinline__ void ApplyBefore(const WarpgroupTile& t,
                                                     const EpilogueArgs& columns, float* four,
                                                     int first, int row) {
#pragma unroll
    for (int side = 0; side < 2; side++) {
      const int column = first + t.thread % 4 * 2 + side;
      const Before::Column c = Before::Load(columns, column);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float& z = four[half * 2 + side];
        z = Before::Apply(z, c, BlockInput<Before>(t.args, row + half * 8, t.origin.y + column));
      }
    }
  }

  // The first row of the warpgroup's z, in the place of column vector 0.
  __device__ __forceinline__ void KeepFirstRow(
      const WarpgroupTile& t, const float (&sums)[kFragments][kAccumulators]) const {
    if (t.thread >= 4) return;
    const EpilogueArgs columns = ColumnsFrom(t.shared, t.consumer, Epilogue::kColumns);
    const uint32_t slot = t.shared.Column(t.consumer, 0) + t.thread * 8;
#pragma unroll
    for (int i = 0; i < kAccumulators; i += 4) {
      float z[4] = {sums[0][i], sums[0][i + 1]};
      ApplyBefore(t, columns, z, i * 2, t.origin.x);
      StoreSharedPair(slot + i * 8, __float_as_uint(z[0]), __float_as_uint(z[1]));
    }
  }

  // Where a warp's sum and sum of squares of a column lie.
  static __device__ __forceinline__ uint32_t WarpSums(const WarpgroupTile& t, int consumer,
                                                      int warp, int column) {
    return t.shared.Store(consumer, 0) + (warp * Config::kTileN + column) * 8;
  }

  // Sums become z. Of z's deviations from the first row, the sums over the warp's rows. (What comes
  // before the norm is applied in here because shuffles keep the compiler from computing all of it
  // at once, for which there are no registers; the first row's is computed twice for that.)
  template <bool kAllInside>
  __device__ __forceinline__ void SumColumns(const WarpgroupTile& t,
                                             float (&sums)[kFragments][kAccumulators]) const {
    const EpilogueArgs columns = ColumnsFrom(t.shared, t.consumer, Epilogue::kColumns);
    const int warp = t.thread / 32, lane = t.thread % 32;
    const uint32_t first_row = t.shared.Column(t.consumer, 0) + lane % 4 * 8;
    const int row = t.origin.x + warp * 16 + lane / 4;
    const int value = (lane >> 4 & 1) * 4 + (lane >> 3 & 1) * 2 + (lane >> 2 & 1);
#pragma unroll
    for (int chunk = 0; chunk < Config::kTileN / kChunk; chunk++) {
      float sum[kChunkValues] = {};
      float squares[kChunkValues] = {};
#pragma unroll
      for (int group = 0; group < kChunk / 8; group++) {
        const int i = (chunk * (kChunk / 8) + group) * 4;
        const float2 pivot = LoadSharedPair(first_row + i * 8);
#pragma unroll
        for (int fragment = 0; fragment < kFragments; fragment++) {
          ApplyBefore(t, columns, &sums[fragment][i], i * 2, row + fragment * kWgmmaRows);
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const bool inside = kAllInside || row + fragment * kWgmmaRows + half * 8 < t.args.m;
            const float left = inside ? sums[fragment][i + half * 2] - pivot.x : 0.0f;
            const float right = inside ? sums[fragment][i + half * 2 + 1] - pivot.y : 0.0f;
            sum[group * 2] += left;
            sum[group * 2 + 1] += right;
            squares[group * 2] = fmaf(left, left, squares[group * 2]);
            squares[group * 2 + 1] = fmaf(right, right, squares[group * 2 + 1]);
          }
        }
      }
      const int column = chunk * kChunk + value / 2 * 8 + lane % 4 * 2 + value % 2;
      const float all = SumScattered(sum, lane);
      const float all_squares = SumScattered(squares, lane);
      StoreSharedPair(WarpSums(t, t.consumer, warp, column), __float_as_uint(all),
                      __float_as_uint(all_squares));
    }
  }

  // Of a column over a warpgroup's rows.
  static __device__ __forceinline__ Moments WarpgroupMoments(const WarpgroupTile& t, int consumer,
                                                             int column, int rows) {
    if (rows == 0) return {0, 0};
    double sum = 0, squares = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; warp++) {
      const float2 part = LoadSharedPair(WarpSums(t, consumer, warp, column));
      sum += part.x;
      squares += part.y;
    }
    const double step = sum / rows;
    const float first_row = LoadShared(t.shared.Column(consumer, 0) + column * 4);
    return {first_row + step, squares - sum * step};
  }

  // Of the CTA's rows. The threads of both warpgroups share the columns.
  __device__ __forceinline__ void LeaveMoments(const WarpgroupTile& t) const {
    const int top = t.origin.x - t.consumer * kTileRows;
    const int rows = RowsInside(t.args, top, kTileRows);
    const int rows_below = RowsInside(t.args, top + kTileRows, kTileRows);
    for (int column = t.consumer * kWarpgroupThreads + t.thread; column < Config::kTileN;
         column += kConsumers * kWarpgroupThreads) {
      if (t.origin.y + column >= t.args.n) break;
      const Moments above = WarpgroupMoments(t, 0, column, rows);
      const Moments below = WarpgroupMoments(t, 1, column, rows_below);
      Moments* to = PartAt(t.args, top / Config::kTileM, t.origin.y + column);
      const double share =
          rows_below > 0 ? static_cast<double>(rows_below) / (rows + rows_below) : 0;
      const double step = below.mean - above.mean;
      to->mean = above.mean + step * share;
      to->squares = above.squares + below.squares + step * step * share * rows;
    }
  }

  // Returns when every CTA with the same columns has left its moments. The low half of the
  // counter counts arrivals, the high half departures: the last to leave puts it back to zero.
  __device__ __forceinline__ void WaitForAll(const WarpgroupTile& t) const {
    const uint32_t all = Tiles{t.args}.rows() * Config::kClusterM;
    uint32_t* counter = t.args.arrivals + t.origin.y / Config::kTileN;
    __threadfence();
    atomicAdd(counter, 1u);
    while ((LoadAcquire(counter) & 0xffff) < all) {
    }
    if (atomicAdd(counter, 1u << 16) >> 16 == all - 1) *counter = 0;
  }

  // The three vectors with which the epilogue normalises.
  __device__ __forceinline__ void MergeMoments(const WarpgroupTile& t) const {
    for (int column = t.consumer * kWarpgroupThreads + t.thread; column < Config::kTileN;
         column += kConsumers * kWarpgroupThreads) {
      const int at = t.origin.y + column;
      if (at >= t.args.n) break;
      double first = 0, steps = 0, squares = 0;  // steps: of the means from the first part's
      for (int part = 0; part * Config::kTileM < t.args.m; part += kPartsAtOnce) {
        Moments moments[kPartsAtOnce];
#pragma unroll
        for (int i = 0; i < kPartsAtOnce; i++) {
          if ((part + i) * Config::kTileM < t.args.m) {
            const double2 pair = LoadPairFromL2(&PartAt(t.args, part + i, at)->mean);
            moments[i] = {pair.x, pair.y};
          }
        }
        if (part == 0) first = moments[0].mean;
#pragma unroll
        for (int i = 0; i < kPartsAtOnce; i++) {
          const int rows = RowsInside(t.args, (part + i) * Config::kTileM, Config::kTileM);
          if (rows == 0) break;
          const double step = moments[i].mean - first;
          steps += rows * step;
          squares += moments[i].squares + rows * step * step;
        }
      }
      const double mean = steps / t.args.m;
      const double rest = squares - steps * mean;
      SetColumns(t, column, first + mean, (rest < 0 ? 0 : rest) / t.args.m);  // a NaN stays one
    }
  }

  __device__ __forceinline__ void SetColumns(const WarpgroupTile& t, int column, double mean,
                                             double variance) const {
    const NormColumn norm = NormOf(statistics_, t.origin.y + column, mean, variance);
    const float values[kNormColumns] = {norm.before, norm.scale, norm.after};
#pragma unroll
    for (int vector = 0; vector < kNormColumns; vector++) {
#pragma unroll
      for (int consumer = 0; consumer < kConsumers; consumer++) {
        StoreShared(t.shared.Column(consumer, vector) + column * 4, values[vector]);
      }
    }
  }

  const StatisticsArgs& statistics_;
};

extern "C" __global__ void __launch_bounds__(kThreads, 1) __cluster_dims__(kClusterCtas, 1, 1)
    mlpserve_gemm(const __grid_constant__ GemmArgs args, const __grid_constant__ TensorMap x_map,
                  const __grid_constant__ TensorMap w_map, const __grid_constant__ TensorMap y_map,
                  const __grid_constant__ StatisticsArgs statistics) {
  RunCta(args, x_map, w_map, y_map, Normalise(statistics));
}

}  // namespace mlpserve::cuda
