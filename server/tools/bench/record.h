// One figure of a run, as a line of JSON and as a line of a table.
//
// A record holds op, m, n, k, dtype, variant, ms (of one launch, sustained), burst_ms, tflops and
// gbps, and where they are known relerr, regs, smem, local, layers, chain_ms, sm_mhz, power_w.
// Whatever has no "ms" describes the run: {"op": "machine", ...} and {"op": "read", "gbps": ...}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

// A product without an epilogue, by the vendor's library: what the others are held against.
inline constexpr char kPlainOp[] = "gemm_only";

struct Resources {
  int registers = 0;     // per thread
  int shared_bytes = 0;  // of a block
  int local_bytes = 0;   // per thread; spilled
};

struct Record {
  std::string op;
  int64_t m = 0, n = 0, k = 0;
  ComputeType compute = ComputeType::kBf16;
  std::string variant;
  double burst_ms = 0;
  double ms = 0;
  std::optional<double> relative_error;
  std::optional<Resources> resources;
  int layers = 1;
  double chain_ms = 0;  // of one layer in a chain of `layers`; 0: not measured
  double sm_mhz = 0;    // while the problem was timed; 0: not known
  double power_w = 0;

  double Tflops() const;
  double GigabytesPerSecond() const;  // weights, rows in and rows out, each once
};

std::string ToJson(const Record& record);

std::string TableHeading();
// `plain` is the library's of the same problem; null: ratios are left out. `read_gbps` 0: likewise.
std::string ToTableRow(const Record& record, const Record* plain, double read_gbps);

}  // namespace mlpserve::tools
