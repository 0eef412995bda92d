#include "server/tools/bench/record.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mlpserve::tools {

double Record::Tflops() const {
  return 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / ms;
}

double Record::GigabytesPerSecond() const {
  const double values = static_cast<double>(n) * static_cast<double>(k) +
                        static_cast<double>(m) * static_cast<double>(n + k);
  return 1e-6 * values * static_cast<double>(ByteSize(StorageType(compute))) / ms;
}

std::string ToJson(const Record& r) {
  nlohmann::ordered_json json = {{"op", r.op},
                                 {"m", r.m},
                                 {"n", r.n},
                                 {"k", r.k},
                                 {"dtype", DtypeName(r.compute)},
                                 {"variant", r.variant},
                                 {"burst_ms", r.burst_ms},
                                 {"ms", r.ms},
                                 {"tflops", r.Tflops()},
                                 {"gbps", r.GigabytesPerSecond()}};
  if (r.relative_error && std::isfinite(*r.relative_error)) json["relerr"] = *r.relative_error;
  if (r.resources) {
    json["regs"] = r.resources->registers;
    json["smem"] = r.resources->shared_bytes;
    json["local"] = r.resources->local_bytes;
  }
  if (r.chain_ms > 0) {
    json["layers"] = r.layers;
    json["chain_ms"] = r.chain_ms;
  }
  if (r.sm_mhz > 0) {
    json["sm_mhz"] = std::round(r.sm_mhz);
    json["power_w"] = std::round(r.power_w);
  }
  return json.dump();
}

std::string TableHeading() {
  return absl::StrFormat("%-5s %-24s %7s %6s %6s  %-44s %9s %6s %9s %6s %8s %7s %5s %8s %5s %7s",
                         "dtype", "op", "m", "n", "k", "variant", "burst us", "", "us", "",
                         "TFLOP/s", "GB/s", "read", "relerr", "regs", "shared");
}

std::string ToTableRow(const Record& r, const Record* plain, double read_gbps) {
  const auto ratio = [](double theirs, double ours) {
    return theirs > 0 && ours > 0 ? absl::StrFormat("%.2fx", theirs / ours) : std::string("-");
  };
  std::string row = absl::StrFormat(
      "%-5s %-24s %7d %6d %6d  %-44s %9.2f %6s %9.2f %6s %8.3g %7.4g %5s %8s", DtypeName(r.compute),
      r.op, r.m, r.n, r.k, r.variant, 1e3 * r.burst_ms,
      ratio(plain ? plain->burst_ms : 0, r.burst_ms), 1e3 * r.ms,
      ratio(plain ? plain->ms : 0, r.ms), r.Tflops(), r.GigabytesPerSecond(),
      read_gbps > 0 ? absl::StrFormat("%.2f", r.GigabytesPerSecond() / read_gbps) : "-",
      r.relative_error ? absl::StrFormat("%.1e", *r.relative_error) : "-");
  absl::StrAppend(&row, r.resources ? absl::StrFormat(" %5d %7d", r.resources->registers,
                                                      r.resources->shared_bytes)
                                    : absl::StrFormat(" %5s %7s", "-", "-"));
  if (r.resources && r.resources->local_bytes > 0) {
    absl::StrAppend(&row, "  spills ", r.resources->local_bytes, " bytes");
  }
  if (r.chain_ms > 0) {
    absl::StrAppendFormat(&row, "  %.2f us a layer in a chain of %d", 1e3 * r.chain_ms, r.layers);
  }
  if (r.sm_mhz > 0) absl::StrAppendFormat(&row, "  %.0f MHz, %.0f W", r.sm_mhz, r.power_w);
  return row;
}

}  // namespace mlpserve::tools
