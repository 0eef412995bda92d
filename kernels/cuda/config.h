// One kernel's compile-time choices as data: what Config says in the generated source.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

enum class MainLoop : uint8_t {
  kFfma,       // FP32 products; any architecture
  kMma,        // mma.sync, sm_80 and up
  kMmaRows,    // mma.sync for few rows: weights are the operand of 16 rows
  kWgmma,      // wgmma with TMA, sm_90a
  kWgmmaRows,  // few rows on sm_90a
};

// Sizes are in elements. A main loop ignores what it does not name in its file's header comment.
struct KernelConfig {
  MainLoop main_loop = MainLoop::kMma;
  ComputeType compute = ComputeType::kBf16;
  DataType output = DataType::kBf16;
  int tile_m = 128;       // rows of y per tile
  int tile_n = 128;       // columns of y per tile
  int tile_k = 32;        // depth of one pipeline stage
  int warps_m = 2;        // warps (kWgmma: consumer warpgroups) along tile_m
  int warps_n = 4;        // and along tile_n
  int stages = 3;         // of the shared-memory pipeline
  int blocks_per_sm = 1;  // promised to the compiler: bounds the registers per thread
  int split_k = 1;        // blocks per tile; a launch parameter, not part of the code
  int cluster = 1;        // blocks of a cluster, along m (kWgmma)

  bool operator==(const KernelConfig&) const = default;
};

// "mma.bf16.bf16.128x128x32.w2x4.s3.b1"; with ".k4" for a split in 4 and ".c2" for clusters of 2.
std::string Name(const KernelConfig& config);
// Without the split: equal for configs that share their code.
std::string CodeName(const KernelConfig& config);

// The text of struct Config.
std::string EmitConfig(const KernelConfig& config);

}  // namespace mlpserve::cuda
