#include "kernels/cuda/tiles/choose.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"
#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/cuda/tiles/tuning_space.h"

namespace mlpserve::cuda {
namespace {

constexpr int kFewestRows = 8;           // the smallest tile of wgmma_rows.cuh
constexpr int kFewestRowsOfHalves = 64;  // and of those that read halves
constexpr int64_t kLeastShareOfK = 512;  // a split leaves each CTA at least as much
constexpr int kSplits[] = {1, 2, 4, 8};
constexpr int64_t kLeastRowsToNormalise = 65;  // more than one warpgroup has
constexpr double kLaunchSeconds = 2e-6;
constexpr double kSplitSeconds = 2e-6;     // waiting for the last CTA of a tile
constexpr double kMemorySeconds = 1.5e-6;  // from asking for bytes to having them, under load

int FewestRows(const Tile& tile) { return ReadsHalves(tile) ? kFewestRowsOfHalves : kFewestRows; }

bool IsMma(const Tile& tile) {
  return std::holds_alternative<MmaTile>(tile) || std::holds_alternative<MmaRowsTile>(tile);
}

// CTAs that share one tile of y.
int CtasPerTile(const Tile& tile, int split_k) {
  const auto* rows = std::get_if<WgmmaRowsConfig>(&tile);
  return rows != nullptr ? rows->split_k : split_k;
}

class Chooser {
 public:
  Chooser(const GemmShape& shape, ComputeType compute, DataType output,
          const ChooseOptions& options, const DeviceLimits& limits)
      : shape_(shape), compute_(compute), output_(output), options_(options), limits_(limits) {
    if (options.batch_invariant) shape_.m = kInvariantRows;
  }

  std::vector<Proposal> Choose() const {
    std::vector<Proposal> best;  // of each tile
    std::optional<Proposal> baseline;
    for (Tile tile : TuningSpace(compute_, limits_)) {
      if (auto* wgmma = std::get_if<WgmmaConfig>(&tile)) wgmma->store_by_tma = options_.y_aligned;
      const TileResources resources = ResourcesOf(tile, compute_, output_, options_.columns);
      if (!Fits(resources) || IsWasteful(tile, resources)) continue;
      if (ReadsHalves(tile) && !may_use_halves()) continue;
      const Proposal plain = Propose(tile, resources, 1);
      if (!IsWgmma(tile) && (!baseline || plain.estimate_us < baseline->estimate_us)) {
        baseline = plain;
      }
      // Where there is wgmma, mma.sync is slower throughout.
      if (limits_.has_wgmma() && IsMma(tile)) continue;
      best.push_back(BestSplit(tile, resources, plain));
    }
    std::stable_sort(best.begin(), best.end(), [](const Proposal& a, const Proposal& b) {
      return a.estimate_us < b.estimate_us;
    });
    return WithBaselineFirst(*baseline, Normalising(), best);
  }

 private:
  bool may_use_halves() const { return options_.has_halves && shape_.k >= kLeastHalvesDepth; }

  bool Fits(const TileResources& r) const {
    const int fitting =
        CtasPerSm(limits_.sm, {.threads = r.threads, .shared_bytes = r.shared_bytes});
    return fitting >= r.ctas_per_sm;
  }

  // Kernels for few rows read w once for each of their tiles along m, at one time where all CTAs
  // run at one time; no kernel has a use for tiles far above m, as long as a smaller one is left.
  bool IsWasteful(const Tile& tile, const TileResources& r) const {
    if (std::holds_alternative<WgmmaRowsConfig>(tile)) {
      return (shape_.m > int64_t{2} * r.tile_m && Ctas(tile, r, 1) > limits_.multiprocessors) ||
             (shape_.m <= r.tile_m / 2 && r.tile_m > FewestRows(tile));
    }
    if (std::holds_alternative<MmaRowsTile>(tile)) return shape_.m > int64_t{2} * r.tile_m;
    if (std::holds_alternative<WgmmaConfig>(tile)) return shape_.m <= r.tile_m / 2;
    return shape_.m * 4 <= r.tile_m && r.tile_m > 32;
  }

  Proposal BestSplit(const Tile& tile, const TileResources& resources, Proposal best) const {
    if (IsWgmma(tile)) return best;
    for (const int split : kSplits) {
      if (shape_.k / split < kLeastShareOfK) break;
      const Proposal proposal = Propose(tile, resources, split);
      if (proposal.estimate_us < best.estimate_us) best = proposal;
    }
    return best;
  }

  int64_t Ctas(const Tile& tile, const TileResources& r, int split_k) const {
    const int64_t tiles = CeilDivide(shape_.m, r.tile_m) * CeilDivide(shape_.n, r.tile_n);
    return CeilDivide(tiles * CtasPerTile(tile, split_k), r.cluster) * r.cluster;
  }

  Proposal Propose(const Tile& tile, const TileResources& r, int split_k) const {
    Proposal p;
    p.config = {.tile = tile, .compute = compute_, .output = output_, .split_k = split_k};
    p.ctas = Ctas(tile, r, split_k);
    p.slots = int64_t{limits_.multiprocessors} / r.cluster * r.cluster * r.ctas_per_sm;
    p.estimate_us = IsWgmma(tile) ? EstimateOfWgmma(tile) : 1e6 * Estimate(p, r);
    return p;
  }

  double EstimateOfWgmma(const Tile& tile) const {
    const int element_bytes = static_cast<int>(ByteSize(StorageType(compute_)));
    return EstimateWgmma(shape_, tile, element_bytes, limits_, H200Rates()) +
           (ReadsHalves(tile) ? 1e6 * HalvesPass() : 0);
  }

  // Of ffma and mma: the slowest of arithmetic, L2 and memory, each for the busiest SM's share of
  // the CTAs.
  double Estimate(const Proposal& p, const TileResources& r) const {
    const double element_bytes = static_cast<double>(ByteSize(StorageType(compute_)));
    const double k_share = static_cast<double>(shape_.k) / p.config.split_k;
    const double sms = limits_.multiprocessors;
    const double busiest = static_cast<double>(CeilDivide(p.ctas, limits_.multiprocessors));
    const double area = static_cast<double>(r.tile_m) * r.tile_n;
    const double compute =
        busiest * 2 * area * k_share * sms / (Flops(p.config.tile) * Efficiency(area));
    const double traffic =
        static_cast<double>(p.ctas) * (r.tile_m + r.tile_n) * k_share * element_bytes;
    const double l2 = traffic / limits_.l2_bytes_per_s;
    const double operands = static_cast<double>((shape_.m + shape_.n) * shape_.k) * element_bytes;
    const double results = static_cast<double>(shape_.m * shape_.n) * 4;
    const double needed_in_flight = limits_.bytes_per_s / sms * kMemorySeconds;
    const double in_flight = std::min(1.0, BytesInFlight(r, busiest) / needed_in_flight);
    const double active = std::min(1.0, static_cast<double>(p.ctas) / sms);
    const double memory = (operands + results) / (limits_.bytes_per_s * in_flight * active);
    return Overlapped(compute, l2, memory) + Joining(p.config.split_k, results) + kLaunchSeconds;
  }

  // Of the parts of each sum.
  double Joining(int split_k, double results) const {
    if (split_k == 1) return 0;
    return kSplitSeconds + 2 * split_k * results / limits_.l2_bytes_per_s;
  }

  // Reads the rows of x, and writes twice as much.
  double HalvesPass() const {
    const double bytes = static_cast<double>(3 * shape_.m * shape_.k) * sizeof(float);
    return kLaunchSeconds + bytes / limits_.bytes_per_s;
  }

  // The longest, and a little of the others: what runs side by side still gets in its own way.
  static double Overlapped(double a, double b, double c) {
    const double longest = std::max({a, b, c});
    return longest + 0.15 * (a + b + c - longest);
  }

  // On the busiest SM. Rows of a tile beyond the matrix are never asked for; a quarter of the ring
  // is being read rather than filled.
  double BytesInFlight(const TileResources& r, double ctas) const {
    const auto rows = [](int64_t matrix, int tile) {
      return static_cast<double>(std::min<int64_t>(matrix, tile));
    };
    const double real =
        (rows(shape_.m, r.tile_m) + rows(shape_.n, r.tile_n)) / (r.tile_m + r.tile_n);
    return std::min<double>(ctas, r.ctas_per_sm) * r.shared_bytes * 0.75 * real;
  }

  double Flops(const Tile& tile) const {
    if (std::holds_alternative<FfmaTile>(tile)) return limits_.fp32_flops_per_s;
    const double peak =
        compute_ == ComputeType::kTf32 ? limits_.tf32_flops_per_s() : limits_.flops_per_s;
    // mma.sync reaches about two thirds of what wgmma does.
    return limits_.has_wgmma() ? 0.62 * peak : peak;
  }

  // Of a tile's arithmetic, next to filling its stages and finishing it.
  static double Efficiency(double area) { return area / (area + 64 * 64); }

  // Kernels that do the batch norm themselves: all row tiles of a column run at one time.
  std::vector<Proposal> Normalising() const {
    std::vector<Proposal> proposals;
    if (!options_.norm || options_.batch_invariant || shape_.m < kLeastRowsToNormalise) return {};
    const NormOptions& norm = *options_.norm;
    for (WgmmaConfig& tile : NormalisingTiles(compute_, limits_)) {
      tile.before_columns = norm.before_columns;
      tile.store_by_tma = norm.y_aligned;
      const TileResources r = ResourcesOf(tile, compute_, norm.output, norm.columns);
      const int64_t clusters = limits_.multiprocessors / r.cluster;
      if (!Fits(r) || CeilDivide(shape_.m, r.tile_m * r.cluster) > clusters) continue;
      Proposal p = Propose(tile, r, 1);
      p.config.output = norm.output;
      proposals.push_back(p);
    }
    return proposals;
  }

  std::vector<Proposal> WithBaselineFirst(const Proposal& baseline,
                                          const std::vector<Proposal>& normalising,
                                          const std::vector<Proposal>& best) const {
    std::vector<Proposal> chosen = {baseline};
    chosen.insert(chosen.end(), normalising.begin(), normalising.end());
    const size_t most = chosen.size() + static_cast<size_t>(options_.most - 1);
    for (const Proposal& p : best) {
      if (chosen.size() >= most) break;
      if (Name(p.config) != Name(baseline.config)) chosen.push_back(p);
    }
    return chosen;
  }

  GemmShape shape_;
  ComputeType compute_;
  DataType output_;
  ChooseOptions options_;
  DeviceLimits limits_;
};

}  // namespace

std::vector<Proposal> ChooseConfigs(const GemmShape& shape, ComputeType compute, DataType output,
                                    const ChooseOptions& options, const DeviceLimits& limits) {
  return Chooser(shape, compute, output, options, limits).Choose();
}

std::string ToString(const Proposal& p) {
  return absl::StrFormat("%s: %d CTAs, %d waves %.0f%% full, %.1f us", Name(p.config), p.ctas,
                         p.waves(), 100 * p.fill(), p.estimate_us);
}

}  // namespace mlpserve::cuda
