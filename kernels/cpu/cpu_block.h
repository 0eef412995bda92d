// A block on the CPU: weights packed and memory allocated once at load, batches run on the calling
// thread, which workers join where a batch is worth waking them.
//
// A product's tile passes through its epilogue while it is in cache (packed_block.h). Two plans,
// chosen for each batch by its size (cpu_plan.h): many rows are cut into chunks that pass through
// all layers without waiting for one another (chunk_runner.h); few rows of wide layers are cut by
// columns, layer after layer (step_runner.h). Batch statistics need whole columns and so the second
// plan.
//
// The products are our own (product.h), not oneDNN's: measured beside it on one AVX-512 core
// (2.6.3, FP32, 256 and 1024 wide, 1 to 256 rows) they take 0.8 to 1.1 times as long, need no
// primitive for each number of rows, allocate nothing, leave OpenMP alone, run on every processor,
// and give a row the same bits in every batch, so that batch_invariant costs nothing. oneDNN
// computes BF16 blocks where the processor's BF16 instructions are measured faster
// (bf16_product.h).
//
// Threads: Run, one call at a time. Memory: the packed weights, and for each thread three buffers
// of a chunk of rows (LargestChunk) of the widest layer, and for all threads three of FewRows; a
// block with batch statistics has three of max_rows. After load nothing is allocated here (oneDNN
// allocates inside each of its calls).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/cpu/worker_team.h"
#include "kernels/spec/block.h"

namespace mlpserve::cpu {

enum class Bf16Instructions : uint8_t {
  kIfFaster,  // Bf16Product::IsFaster
  kIfPresent  // for tests
};

struct CpuBlockOptions {
  int64_t max_rows = 4096;
  Bf16Instructions bf16 =
      Bf16Instructions::kIfFaster;  // of BF16 blocks, batch-invariant ones apart
  WorkerTeam* team = nullptr;  // shared by blocks; must outlive them. Null: the calling thread only
  // Called before each layer is read and packed; an error ends Create with it. May be empty.
  std::function<absl::Status(int layer)> before_layer;
};

class CpuBlock {
 public:
  // `block` has passed Validate; nothing of it is kept. Weights are read and packed on the team's
  // number of threads. Errors: a weight cannot be read (Tensor::Read). Throws std::bad_alloc.
  static absl::StatusOr<std::unique_ptr<CpuBlock>> Create(const BlockSpec& block,
                                                          const CpuBlockOptions& options);
  ~CpuBlock();
  CpuBlock(const CpuBlock&) = delete;
  CpuBlock& operator=(const CpuBlock&) = delete;

  // `input` is [rows, input features], `output` [rows, output features], in the block's formats,
  // aligned to their elements. 1 <= rows <= max_rows. Batch statistics are over all the rows.
  void Run(const std::byte* input, std::byte* output, int64_t rows);

  int64_t weight_bytes() const;  // as packed
  // What computes a layer, for logs: "fp32_AVX2", "bf16_onednn".
  std::string Variant(int layer) const;

 private:
  class State;
  explicit CpuBlock(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace mlpserve::cpu
