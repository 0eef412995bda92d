// Runs the steps of an epilogue over a tile of values that is in cache, in SIMD vectors.
// The processor's instruction set is found at run time. Threads: a pure function.
#pragma once

#include <cstdint>

#include "kernels/cpu/epilogue_program.h"
#include "kernels/cpu/panels.h"

namespace mlpserve::cpu {

// Rows that pass through all steps at once, in the L1 cache.
inline constexpr int64_t kEpilogueRows = 16;

// Scratch floats that one level above the first takes.
inline constexpr int64_t kEpilogueScratchPerLevel = kEpilogueRows * kPanelColumns;

struct EpilogueTile {
  float* z = nullptr;  // [rows, columns], in place; whole vectors are read and written: up to
                       // 15 floats past a row's last column
  int64_t z_stride = 0;
  const float* x = nullptr;  // the block's input at the tile's first column, likewise padded;
                             // may be null where no step is kAddInput
  int64_t x_stride = 0;
  int64_t rows = 0;
  int64_t columns = 0;       // at most kPanelColumns
  int64_t first_column = 0;  // of the layer's outputs, a multiple of kPanelColumns
  float* scratch = nullptr;  // [levels - 1, kEpilogueScratchPerLevel]
};

void RunEpilogue(const EpilogueProgram& program, const EpilogueTile& tile);

}  // namespace mlpserve::cpu
