#include "server/tools/bench/memory_need.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/tools/bench/expected.h"

namespace mlpserve::tools {
namespace {

constexpr double kBytesOfHeldValue =
    132;  // sums and oracles of a block and a product, twice in TF32

}  // namespace

absl::Status CheckHostFits(const Problem& p, double more) {
  const auto m = static_cast<double>(p.m);
  const auto n = static_cast<double>(p.n);
  const auto k = static_cast<double>(p.k);
  const double held = m * std::min(n, std::max(1.0, kMostHeldValues / m));
  const double need = (m * k + 2 * n * k) * sizeof(float) + held * kBytesOfHeldValue + more;
  const double have =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (need <= have) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(Describe(p), ": expected what fits into ", static_cast<int64_t>(have) >> 20,
                   " MiB of memory, found ", static_cast<int64_t>(need / (1 << 20)), " MiB"));
}

}  // namespace mlpserve::tools
