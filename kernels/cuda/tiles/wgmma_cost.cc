#include "kernels/cuda/tiles/wgmma_cost.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/tiles/ceil_divide.h"

namespace mlpserve::cuda {
namespace {

constexpr double kStepBytes = 128;  // of k
constexpr double kProductUnit = 128 * 256;
constexpr double kDeliveryUnit = 256;
constexpr double kExchangeUnit = 128 * 128;
constexpr double kMegabyte = 1e6;
constexpr int kH200Multiprocessors = 132;
constexpr double kH200BytesPerS = 4.6e12;

// What the formula needs of either kind of tile.
struct Counts {
  double rows = 0, columns = 0;  // of y, in a tile
  double ctas = 0;
  double busiest = 0;          // CTAs, or tiles, of the busiest multiprocessor
  double steps = 0;            // of k, in each
  double rows_from_l2 = 0;     // of both operands, in a step of a CTA: less is multicast
  double rows_delivered = 0;   // in a step into a multiprocessor
  double in_flight_bytes = 0;  // of a CTA
};

double Steps(const GemmShape& shape, int element_bytes, int terms) {
  return std::ceil(static_cast<double>(shape.k * element_bytes * terms) / kStepBytes);
}

// Rows beyond the matrix are never asked for.
double Real(int64_t matrix, int64_t tile) {
  const int64_t tiles = CeilDivide(matrix, tile);
  return static_cast<double>(matrix) / static_cast<double>(tiles);
}

Counts Count(const GemmShape& s, const WgmmaConfig& c, int element_bytes,
             const DeviceLimits& limits) {
  const int cluster = c.cluster_m * c.cluster_n;
  const int64_t clusters = CeilDivide(s.m, int64_t{c.tile_m} * c.cluster_m) *
                           CeilDivide(s.n, int64_t{c.tile_n} * c.cluster_n);
  const double x = Real(s.m, c.tile_m), w = Real(s.n, c.tile_n);
  return {.rows = static_cast<double>(c.tile_m),
          .columns = static_cast<double>(c.tile_n),
          .ctas = static_cast<double>(clusters * cluster),
          .busiest = static_cast<double>(CeilDivide(clusters, limits.multiprocessors / cluster)),
          .steps = Steps(s, element_bytes, c.terms),
          .rows_from_l2 = x / c.cluster_n + w / c.cluster_m,
          .rows_delivered = x + w,
          .in_flight_bytes = c.stages * (x + w) * kStepBytes};
}

Counts Count(const GemmShape& s, const WgmmaRowsConfig& c, int element_bytes,
             const DeviceLimits& limits) {
  const int64_t ctas = CeilDivide(s.m, c.batch) * CeilDivide(s.n, int64_t{c.tile_rows} * c.share) *
                       c.share * c.split_k;
  const double x = Real(s.m, c.batch), w = Real(s.n, c.tile_rows);
  return {.rows = static_cast<double>(c.batch),
          .columns = static_cast<double>(c.tile_rows),
          .ctas = static_cast<double>(ctas),
          .busiest = static_cast<double>(CeilDivide(ctas, limits.multiprocessors)),
          .steps = Steps(s, element_bytes, c.terms) / c.split_k,
          .rows_from_l2 = x / c.share + w,
          .rows_delivered = x + w,
          .in_flight_bytes = c.stages * c.slabs_per_stage * (x + w) * kStepBytes};
}

double BytesOfAll(const GemmShape& s, int element_bytes) {
  return static_cast<double>((s.m + s.n) * s.k + s.m * s.n) * element_bytes;
}

// Of the products' arithmetic and of what they wait for.
double Main(const Counts& c, const GemmShape& s, int element_bytes, const DeviceLimits& limits,
            const WgmmaRates& r) {
  const double sms = limits.multiprocessors;
  const double share = sms / kH200Multiprocessors;  // of what an H200's L2 gives
  const double product = r.product * c.rows * c.columns / kProductUnit;
  const double delivery = r.delivery * c.rows_delivered / kDeliveryUnit;
  const double steps = c.busiest * c.steps;
  const double l2 = r.l2 / share * c.ctas * c.steps * c.rows_from_l2 * kStepBytes / kMegabyte;
  const double busy = std::min(c.ctas, sms) * c.in_flight_bytes / kMegabyte;
  const double memory = r.memory * kH200BytesPerS / limits.bytes_per_s *
                        BytesOfAll(s, element_bytes) / kMegabyte *
                        std::max(1.0, r.in_flight / busy);
  const auto part = [&r](double us) { return std::pow(us, r.together); };
  return std::pow(part(steps * product) + part(steps * delivery) + part(l2) + part(memory),
                  1 / r.together);
}

}  // namespace

WgmmaRates H200Rates() {
  return {.product = 0.597,
          .delivery = 0.1521,
          .l2 = 0.0827,
          .memory = 0.1987,
          .in_flight = 3.146,
          .start = 1.802,
          .end = 0.2319,
          .end_area = 2.41,
          .end_rows = 1.767,
          .end_rows_area = 2.571,
          .exchange = 0.3493,
          .exchange_area = 1.852,
          .hidden = 0.2831,
          .together = 2.489};
}

double EstimateWgmma(const GemmShape& s, const Tile& tile, int element_bytes,
                     const DeviceLimits& limits, const WgmmaRates& r) {
  if (const auto* config = std::get_if<WgmmaConfig>(&tile)) {
    const Counts c = Count(s, *config, element_bytes, limits);
    const double end = r.end + r.end_area * c.rows * c.columns / kProductUnit;
    const double ends =
        config->ping_pong ? end * (1 + r.hidden * (c.busiest - 1)) : end * c.busiest;
    return r.start + Main(c, s, element_bytes, limits, r) + ends;
  }
  const auto& config = std::get<WgmmaRowsConfig>(tile);
  const Counts c = Count(s, config, element_bytes, limits);
  const double area = c.rows * c.columns / config.split_k;
  double end = r.end_rows + r.end_rows_area * area / kProductUnit;
  if (config.split_k > 1) end += r.exchange + r.exchange_area * c.rows * c.columns / kExchangeUnit;
  return Main(c, s, element_bytes, limits, r) + end * c.busiest;
}

}  // namespace mlpserve::cuda
