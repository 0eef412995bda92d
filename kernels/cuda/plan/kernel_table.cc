#include "kernels/cuda/plan/kernel_table.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mlpserve::cuda {

double KernelRow::TflopsPerSecond() const {
  if (us <= 0) return 0;
  return 2e-6 * static_cast<double>(bucket) * static_cast<double>(outputs) *
         static_cast<double>(inputs) / us;
}

double KernelRow::GigabytesPerSecond() const {
  if (us <= 0) return 0;
  const int64_t values = outputs * inputs + bucket * (outputs + inputs);
  return 1e-3 * static_cast<double>(values) * static_cast<double>(ByteSize(StorageType(compute))) /
         us;
}

std::string ToString(const std::vector<KernelRow>& table) {
  std::string text = absl::StrFormat("%-16s %7s %13s  %-48s %4s %7s %6s %9s %8s %7s %9s\n", "layer",
                                     "bucket", "shape", "variant", "regs", "shared", "CTAs", "us",
                                     "TFLOP/s", "GB/s", "cuBLASLt");
  for (const KernelRow& row : table) {
    const std::string ratio =
        row.us > 0 && row.library_us > 0 ? absl::StrFormat("%.2fx", row.library_us / row.us) : "-";
    absl::StrAppend(&text,
                    absl::StrFormat("%-16s %7d %6dx%6d  %-48s %4d %7d %6d %9.1f %8.1f %7.0f %9s\n",
                                    row.layer, row.bucket, row.outputs, row.inputs, row.variant,
                                    row.registers, row.shared_bytes, row.ctas_per_sm, row.us,
                                    row.TflopsPerSecond(), row.GigabytesPerSecond(), ratio));
  }
  return text;
}

}  // namespace mlpserve::cuda
