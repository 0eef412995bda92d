// Which kernels were chosen for a block, as a table to print.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

inline bool IsLibrary(const std::string& variant) { return variant.rfind("cublaslt", 0) == 0; }

struct KernelRow {
  std::string layer;
  int64_t bucket = 0;  // rows
  int64_t outputs = 0, inputs = 0;
  ComputeType compute = ComputeType::kBf16;
  std::string variant;       // main loop, tile, stages; "cublaslt..." where the library computes
  bool reads_split = false;  // FP32 out of three products of TF32
  int registers = 0;         // per thread; 0: not known (the library's)
  int shared_bytes = 0;
  int ctas_per_sm = 0;    // that run at a time on each; 0: not known
  double us = 0;          // 0: not measured
  double library_us = 0;  // cuBLASLt's best in the same run; 0: not measured

  double TflopsPerSecond() const;
  double GigabytesPerSecond() const;  // weights, rows in and rows out, each once
};

// One line for each row, and a heading.
std::string ToString(const std::vector<KernelRow>& table);

}  // namespace mlpserve::cuda
