#include "kernels/cpu/product.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/product.cc"
#include "hwy/foreach_target.h"  // compiles the rest of this file once for each instruction set
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace mlpserve::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Float = hn::ScalableTag<float>;
using Bits = hn::RebindToUnsigned<Float>;
using Vector = hn::Vec<Float>;

// Vectors that a full tile is wide: with six rows, AVX-512's 32 registers hold 24 sums, the 16 of
// older instruction sets 12.
constexpr int64_t kLanes = HWY_LANES(float);
constexpr int kWidest = kLanes >= 16 ? 4 : 2;
constexpr int64_t kTallest = 6;
// Columns of a strip of FP32 weights: as wide as a full tile, so that a tile reads whole cache
// lines one after another.
constexpr int64_t kStrip = kWidest * kLanes;
static_assert(kPanelColumns % kStrip == 0);
// With one or two rows there are too few sums to hide an addition's latency: they take several
// strips at a time.
constexpr int kWidestOfFew = static_cast<int>(std::min<int64_t>(8, kPanelColumns / kLanes));
// Inputs whose weights are used for all rows before the next ones are read: up to 64 KiB of a
// strip, which stay in the L2 cache beside the rows. Sums wait in z meanwhile. Even, for pairs of
// BF16.
constexpr int64_t kBlockInputs = 256;
constexpr int64_t kCacheLine = 64;

// Weights on their way to the L2 cache while others are used: `step` bytes for each turn of the
// innermost loop, so that they fill no queue.
struct Ahead {
  const std::byte* next = nullptr;
  int64_t bytes = 0;
  int64_t step = 0;  // in cache lines; 0: nothing is left to fetch
};

HWY_INLINE void Fetch(const Ahead& ahead, int64_t turn) {
  for (int64_t b = 0; b < ahead.step; b += kCacheLine) {
    __builtin_prefetch(ahead.next + turn * ahead.step + b, 0, 2);
  }
}

// Adds x[row][k] * w[v] to every sum.
template <int kRows, int kVectors>
HWY_INLINE void AddOuterProduct(const float* HWY_RESTRICT x, int64_t x_stride,
                                const Vector (&w)[kVectors], Vector (&sums)[kRows][kVectors]) {
  const Float f;
  for (int row = 0; row < kRows; ++row) {
    const Vector value = hn::Set(f, x[row * x_stride]);
    for (int v = 0; v < kVectors; ++v) sums[row][v] = hn::MulAdd(value, w[v], sums[row][v]);
  }
}

template <int kRows, int kVectors>
HWY_INLINE void SumFp32(const float* HWY_RESTRICT x, int64_t x_stride,
                        const float* HWY_RESTRICT weights, int64_t strip_stride, int64_t inputs,
                        const Ahead& ahead, Vector (&sums)[kRows][kVectors]) {
  const Float f;
  for (int64_t k = 0; k < inputs; ++k) {
    Fetch(ahead, k);
    Vector w[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const float* strip = weights + v / kWidest * strip_stride;
      w[v] = hn::Load(f, strip + k * kStrip + v % kWidest * kLanes);
    }
    AddOuterProduct<kRows, kVectors>(x + k, x_stride, w, sums);
  }
}

// A 32-bit lane holds the weights of two inputs; the lower half is the first's.
template <int kRows, int kVectors>
HWY_INLINE void SumBf16(const float* HWY_RESTRICT x, int64_t x_stride,
                        const uint32_t* HWY_RESTRICT weights, int64_t inputs, const Ahead& ahead,
                        Vector (&sums)[kRows][kVectors]) {
  const Float f;
  const Bits u;
  for (int64_t k = 0; k < inputs; k += 2) {
    Fetch(ahead, k / 2);
    Vector even[kVectors];
    Vector odd[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const auto pair = hn::Load(u, weights + k / 2 * kPanelColumns + v * kLanes);
      even[v] = hn::BitCast(f, hn::ShiftLeft<16>(pair));
      odd[v] = hn::BitCast(f, hn::And(pair, hn::Set(u, 0xffff0000u)));
    }
    AddOuterProduct<kRows, kVectors>(x + k, x_stride, even, sums);
    if (k + 1 < inputs) AddOuterProduct<kRows, kVectors>(x + k + 1, x_stride, odd, sums);
  }
}

// The weights of inputs first .. last for one tile's columns.
struct Slice {
  WeightFormat format;
  const std::byte* weights;  // of input `first`
  int64_t strip_stride;      // floats from a strip to the next
  int64_t first;
  int64_t last;

  // Of the innermost loop.
  int64_t turns() const {
    return format == WeightFormat::kFp32 ? last - first : (last - first + 1) / 2;
  }
};

// `x` and `z` point to the tile's first row.
template <int kRows, int kVectors>
HWY_INLINE void Tile(const Slice& slice, const float* x, int64_t x_stride, float* z,
                     int64_t z_stride, const Ahead& ahead) {
  const Float f;
  Vector sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int v = 0; v < kVectors; ++v) {
      sums[row][v] = slice.first == 0 ? hn::Zero(f) : hn::LoadU(f, z + row * z_stride + v * kLanes);
    }
  }
  const int64_t inputs = slice.last - slice.first;
  if (slice.format == WeightFormat::kFp32) {
    const float* weights = reinterpret_cast<const float*>(slice.weights);
    SumFp32<kRows, kVectors>(x + slice.first, x_stride, weights, slice.strip_stride, inputs, ahead,
                             sums);
  } else {
    const uint32_t* weights = reinterpret_cast<const uint32_t*>(slice.weights);
    SumBf16<kRows, kVectors>(x + slice.first, x_stride, weights, inputs, ahead, sums);
  }
  for (int row = 0; row < kRows; ++row) {
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[row][v], f, z + row * z_stride + v * kLanes);
    }
  }
}

int64_t CeilDiv(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// Cuts rows into tiles whose heights differ by one at most: a tile of few rows would wait for its
// weights and its sums.
template <int kVectors>
void AllRows(const Slice& slice, const ProductTile& tile, float* z, Ahead ahead) {
  int64_t row = 0;
  for (int64_t tiles = CeilDiv(tile.rows, kTallest); tiles > 0; --tiles) {
    const float* tile_x = tile.x + row * tile.x_stride;
    float* tile_z = z + row * tile.z_stride;
    const int64_t height = CeilDiv(tile.rows - row, tiles);
    switch (height) {
      case 6:
        Tile<6, kVectors>(slice, tile_x, tile.x_stride, tile_z, tile.z_stride, ahead);
        break;
      case 5:
        Tile<5, kVectors>(slice, tile_x, tile.x_stride, tile_z, tile.z_stride, ahead);
        break;
      case 4:
        Tile<4, kVectors>(slice, tile_x, tile.x_stride, tile_z, tile.z_stride, ahead);
        break;
      case 3:
        Tile<3, kVectors>(slice, tile_x, tile.x_stride, tile_z, tile.z_stride, ahead);
        break;
      case 2:
        Tile<2, kVectors>(slice, tile_x, tile.x_stride, tile_z, tile.z_stride, ahead);
        break;
      default:
        Tile<1, kVectors>(slice, tile_x, tile.x_stride, tile_z, tile.z_stride, ahead);
    }
    row += height;
    const int64_t fetched = slice.turns() * ahead.step;
    ahead.next += fetched;
    ahead.bytes -= fetched;
    if (ahead.bytes <= 0) ahead.step = 0;
  }
}

// All rows of as many columns, from `column` of the panel on, as are computed at a time. Weights in
// FP32 lie in strips, those in BF16 in the order of the whole panel.
class Tiles {
 public:
  Tiles(const Panels& weights, const ProductTile& tile, int64_t column, int64_t columns)
      : weights_(weights),
        tile_(tile),
        column_(column),
        vectors_(std::min<int64_t>(CeilDiv(columns - column, kLanes), Widest(weights, tile))),
        is_last_(column + vectors_ * kLanes >= columns) {}

  static int64_t Widest(const Panels& weights, const ProductTile& tile) {
    if (weights.format() != WeightFormat::kFp32 || tile.rows > 2) return kWidest;
    return std::max<int64_t>(kWidest, kWidestOfFew / tile.rows);
  }

  int64_t columns() const { return vectors_ * kLanes; }

  void Run() const {
    for (int64_t k = 0; k < weights_.inputs(); k += kBlockInputs) {
      const Slice slice = SliceFrom(k);
      const Ahead ahead = AheadOf(slice);
      float* const z = tile_.z + column_;
      if (vectors_ > kWidest) {
        FewRows(slice, z);
      } else if (vectors_ > 2) {
        AllRows<kWidest>(slice, tile_, z, ahead);
      } else if (vectors_ == 2) {
        AllRows<2>(slice, tile_, z, ahead);
      } else {
        AllRows<1>(slice, tile_, z, ahead);
      }
    }
  }

 private:
  // The processor's own prefetching follows the strips.
  void FewRows(const Slice& slice, float* z) const {
    if (tile_.rows == 1) {
      Tile<1, kWidestOfFew>(slice, tile_.x, tile_.x_stride, z, tile_.z_stride, {});
    } else {
      Tile<2, std::max(kWidest, kWidestOfFew / 2)>(slice, tile_.x, tile_.x_stride, z,
                                                   tile_.z_stride, {});
    }
  }

  bool in_strips() const { return weights_.format() == WeightFormat::kFp32; }
  // From one input to the next.
  int64_t InputBytes() const { return in_strips() ? kStrip * 4 : kPanelColumns * 2; }
  int64_t Offset(int64_t input) const {
    const int64_t columns_before =
        in_strips() ? column_ * weights_.padded_inputs() * 4 : column_ * 4;  // pairs of BF16
    return columns_before + input * InputBytes();
  }

  Slice SliceFrom(int64_t first) const {
    return {.format = weights_.format(),
            .weights = weights_.panel(tile_.panel).data() + Offset(first),
            .strip_stride = weights_.padded_inputs() * kStrip,
            .first = first,
            .last = std::min(first + kBlockInputs, weights_.inputs())};
  }

  // What is used after `slice`: the next inputs, the next strip, or the start of the panel that
  // comes next.
  Ahead AheadOf(const Slice& slice) const {
    if (!tile_.fetches_ahead) return {};
    std::span<const std::byte> next = tile_.upcoming;
    if (slice.last < weights_.inputs() || !is_last_) {
      next = weights_.panel(tile_.panel).subspan(static_cast<size_t>(Offset(slice.last)));
    }
    const int64_t bytes = std::min(static_cast<int64_t>(next.size()), kBlockInputs * InputBytes());
    const int64_t turns = slice.turns() * CeilDiv(tile_.rows, kTallest);
    const int64_t step = CeilDiv(CeilDiv(bytes, turns), kCacheLine) * kCacheLine;
    return {.next = next.data(), .bytes = bytes, .step = step};
  }

  const Panels& weights_;
  const ProductTile& tile_;
  const int64_t column_;
  const int64_t vectors_;
  const bool is_last_;
};

void Product(const Panels& weights, const ProductTile& tile) {
  if (tile.rows == 0) return;  // oneDNN multiplied them all
  const int64_t columns = std::min(kPanelColumns, weights.outputs() - tile.panel * kPanelColumns);
  for (int64_t column = 0; column < columns;) {
    const Tiles tiles(weights, tile, column, columns);
    tiles.Run();
    column += tiles.columns();
  }
}

int64_t StripColumns() { return kStrip; }

}  // namespace HWY_NAMESPACE
}  // namespace mlpserve::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlpserve::cpu {

HWY_EXPORT(Product);
HWY_EXPORT(StripColumns);

void Product(const Panels& weights, const ProductTile& tile) {
  HWY_DYNAMIC_DISPATCH(Product)(weights, tile);
}

int64_t StripColumns() { return HWY_DYNAMIC_DISPATCH(StripColumns)(); }

}  // namespace mlpserve::cpu
#endif
